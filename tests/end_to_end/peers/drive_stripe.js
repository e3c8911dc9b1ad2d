// Drives the Stripe stand-in with Stripe's own client for Node.js, and prints what it saw as JSON.
const http = require("node:http");
const Stripe = require("stripe");

// Receives webhooks as an application does: the raw body, verified by the client's own code.
function receiver() {
  const got = [];
  const server = http.createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
      got.push({ body: Buffer.concat(parts), header: request.headers["stripe-signature"] });
      response.writeHead(200).end();
    });
  });
  return new Promise((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve({ got, server, url: `http://127.0.0.1:${server.address().port}/hook` }))
  );
}

async function until(look) {
  for (let tries = 0; tries < 200; tries++) {
    const found = look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`not within 20 s: ${look}`);
}

async function refused(act) {
  try {
    await act();
  } catch (error) {
    return [error.type, error.code ?? null, error.param ?? null, error.statusCode];
  }
  return "accepted";
}

async function main() {
  const { url, key, mark } = JSON.parse(process.argv[2]);
  const { hostname, port } = new URL(url);
  const stripe = new Stripe(key, { host: hostname, port, protocol: "http", maxNetworkRetries: 0, telemetry: false });
  const seen = {};

  const hook = await receiver();
  const endpoint = await stripe.webhookEndpoints.create({ url: hook.url, enabled_events: ["invoice.paid"] });

  const customer = await stripe.customers.create({
    name: "Knoten GmbH",
    address: { country: "DE" },
    tax_id_data: [{ type: "eu_vat", value: "DE129273398" }],
    metadata: { mark },
    expand: ["tax_ids"],
  });
  seen.taxIds = customer.tax_ids.data.map((each) => [each.type, each.value, each.country]);
  const card = await stripe.paymentMethods.attach("pm_card_visa", { customer: customer.id });
  await stripe.customers.update(customer.id, { invoice_settings: { default_payment_method: card.id } });
  const again = { name: "Seat", metadata: { mark } };
  const twice = [1, 2].map(() => stripe.products.create(again, { idempotencyKey: `product:${mark}` }));
  const [product, repeated] = await Promise.all(twice);
  seen.once = product.id === repeated.id;
  seen.otherParameters = await refused(() =>
    stripe.products.create({ name: "Else" }, { idempotencyKey: `product:${mark}` })
  );
  const price = await stripe.prices.create({
    product: product.id,
    currency: "eur",
    unit_amount_decimal: "0.495",
    recurring: { interval: "month", interval_count: 3 },
  });
  seen.price = [price.unit_amount, String(price.unit_amount_decimal), price.recurring.interval_count];
  const rate = await stripe.taxRates.create({ display_name: "VAT", inclusive: false, percentage: 19 });

  const phase = { items: [{ price: price.id, quantity: 20_000 }], default_tax_rates: [rate.id] };
  const held = await stripe.subscriptionSchedules.create({
    customer: customer.id,
    start_date: 4_000_000_000,
    phases: [phase],
  });
  const started = await stripe.subscriptionSchedules.update(held.id, {
    phases: [{ ...phase, start_date: "now", duration: { interval: "year", interval_count: 1 } }],
    expand: ["subscription.latest_invoice"],
  });
  const draft = started.subscription.latest_invoice;
  await stripe.invoices.finalizeInvoice(draft.id);
  const paid = await stripe.invoices.pay(draft.id, { expand: ["payments"] });
  seen.states = [held.status, started.status, draft.status, paid.status];
  seen.money = [paid.subtotal, paid.total_taxes.map((tax) => tax.amount), paid.total, paid.payments.data[0].amount_paid];
  seen.metadata = paid.parent.subscription_details.metadata;

  const intent = paid.payments.data[0].payment.payment_intent;
  const back = await stripe.refunds.create({ payment_intent: intent, amount: 1_000 });
  const credited = { type: "invoice_line_item", invoice_line_item: paid.lines.data[0].id, quantity: 2_000 };
  const refunds = [{ refund: back.id, amount_refunded: 1_000 }];
  const asked = { invoice: paid.id, lines: [credited], refunds, credit_amount: 178 };
  const shown = await stripe.creditNotes.preview(asked);
  const note = await stripe.creditNotes.create(asked);
  seen.note = [shown.total, note.total, note.post_payment_amount, note.number === `${paid.number}-CN-01`];
  const balance = await stripe.balanceTransactions.retrieve(back.balance_transaction);
  seen.refund = [back.status, balance.type, balance.net];
  seen.tooMuch = await refused(() => stripe.refunds.create({ payment_intent: intent, amount: 100_000 }));

  const meter = await stripe.billing.meters.create({
    display_name: "Calls",
    event_name: `call:${mark}`,
    default_aggregation: { formula: "sum" },
  });
  const usage = { event_name: meter.event_name, payload: { stripe_customer_id: customer.id, value: "25" } };
  const counted = await stripe.billing.meterEvents.create(usage);
  seen.twice = await refused(() => stripe.billing.meterEvents.create({ ...usage, identifier: counted.identifier }));
  const minute = Math.floor(counted.timestamp / 60) * 60;
  const times = { customer: customer.id, start_time: minute, end_time: minute + 60 };
  seen.used = (await stripe.billing.meters.listEventSummaries(meter.id, times)).data.map((each) => each.aggregated_value);
  await stripe.billing.meters.deactivate(meter.id);

  for (let place = 0; place < 12; place++) {
    await stripe.invoiceItems.create({ customer: customer.id, amount: 100 + place, currency: "eur" });
  }
  const many = await stripe.invoices.create({ customer: customer.id, pending_invoice_items_behavior: "include" });
  const lines = [];
  for await (const line of stripe.invoices.listLineItems(many.id, { limit: 5 })) lines.push(line.amount);
  seen.lines = [many.lines.data.length, many.lines.has_more, new Set(lines).size];
  const found = [];
  const query = `metadata["mark"]:"${mark}"`;
  for await (const each of stripe.customers.search({ query, limit: 1 })) found.push(each.id);
  seen.found = found.length === 1 && found[0] === customer.id;

  seen.declined = await refused(() => stripe.paymentMethods.attach("pm_card_chargeDeclined", { customer: customer.id }));
  seen.missing = await refused(() => stripe.customers.retrieve("cus_none"));
  seen.unknown = await refused(() => stripe.customers.create({ nom: "X" }));
  seen.twoWays = await refused(() => stripe.invoices.finalizeInvoice(draft.id));

  const sent = await until(() => hook.got.find((each) => each.body.includes(draft.id)));
  const event = stripe.webhooks.constructEvent(sent.body, sent.header, endpoint.secret);
  seen.event = [event.type, event.data.object.id === draft.id, event.api_version];
  try {
    stripe.webhooks.constructEvent(sent.body, sent.header, "whsec_else");
  } catch (error) {
    seen.forged = error.type;
  }
  await stripe.webhookEndpoints.del(endpoint.id);
  hook.server.close();
  console.log(JSON.stringify(seen));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
