// Drives the Salesforce stand-in with jsforce, and prints what it saw as JSON.
const jsforce = require("jsforce");

async function main() {
  const { url, clientId, clientSecret } = JSON.parse(process.argv[2]);
  const connection = new jsforce.Connection({
    loginUrl: url,
    instanceUrl: url,
    version: "66.0",
    oauth2: { loginUrl: url, clientId, clientSecret },
  });
  await connection.authorize({ grant_type: "client_credentials" });
  const seen = {};
  const created = await connection.sobject("Account").create({ Name: "Script AG", BillingCountryCode: "DE" });
  seen.created = created.success;
  seen.updated = (await connection.sobject("Account").update({ Id: created.id, Name: "Script SE" })).success;
  seen.name = (await connection.sobject("Account").retrieve(created.id)).Name;
  const key = "con_" + created.id;
  const upsert = () =>
    connection.sobject("Contract").upsert({ TiergateContract__c: key, AccountId: created.id }, "TiergateContract__c");
  seen.upserts = [(await upsert()).created, (await upsert()).created];
  const query = await connection.query(
    `SELECT Id, Name, (SELECT Id FROM Contracts) FROM Account WHERE Name LIKE 'Script%' ORDER BY Name LIMIT 5`
  );
  seen.query = { total: query.totalSize, done: query.done, children: query.records[0].Contracts.totalSize };
  const found = await connection.sobject("Account").find({ Name: "Script SE" }, ["Id"]).limit(1);
  seen.find = found.length;
  seen.fields = (await connection.sobject("Opportunity").describe()).fields.some((f) => f.name === "LegalEntity__c");
  seen.limit = connection.limitInfo.apiUsage.limit;
  seen.deleted = (await connection.sobject("Account").destroy(created.id)).success;
  try {
    await connection.sobject("Account").create({ Nome: "X" });
  } catch (error) {
    seen.error = error.errorCode;
  }
  console.log(JSON.stringify(seen));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
