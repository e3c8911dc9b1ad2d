CREATE TABLE references_ (
	kind VARCHAR(20) NOT NULL, 
	platform VARCHAR(20) NOT NULL, 
	foreign_id VARCHAR(120) NOT NULL, 
	canonical_id VARCHAR(120) NOT NULL, 
	PRIMARY KEY (kind, platform, foreign_id)
);
CREATE TABLE customers (
	seq INTEGER NOT NULL, 
	id VARCHAR(120) NOT NULL, 
	partner VARCHAR(60) NOT NULL, 
	document BLOB NOT NULL, 
	run INTEGER NOT NULL, 
	attempts INTEGER NOT NULL, 
	correlation_id VARCHAR(120) NOT NULL, 
	look_at VARCHAR(40), 
	PRIMARY KEY (seq), 
	UNIQUE (id)
);
CREATE TABLE orders (
	seq INTEGER NOT NULL, 
	id VARCHAR(120) NOT NULL, 
	deal_id VARCHAR(120) NOT NULL, 
	revision INTEGER NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	state VARCHAR(20) NOT NULL, 
	held_in VARCHAR(20) NOT NULL, 
	waits_for TEXT NOT NULL, 
	legal_entity VARCHAR(20) NOT NULL, 
	customer_id VARCHAR(120) NOT NULL, 
	partner VARCHAR(60) NOT NULL, 
	placed_by VARCHAR(120) NOT NULL, 
	correlation_id VARCHAR(120) NOT NULL, 
	"plan" BLOB, 
	run INTEGER NOT NULL, 
	provisioning_attempt INTEGER NOT NULL, 
	accepts_duplicate BOOLEAN NOT NULL, 
	look_at VARCHAR(40), 
	shown VARCHAR(40) NOT NULL, 
	received_at VARCHAR(40) NOT NULL, 
	updated_at VARCHAR(40) NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (deal_id, revision), 
	UNIQUE (id)
);
CREATE TABLE order_states (
	seq INTEGER NOT NULL, 
	order_id VARCHAR(120) NOT NULL, 
	state VARCHAR(20) NOT NULL, 
	at VARCHAR(40) NOT NULL, 
	PRIMARY KEY (seq)
);
CREATE TABLE order_lines (
	order_id VARCHAR(120) NOT NULL, 
	line_id VARCHAR(120) NOT NULL, 
	position INTEGER NOT NULL, 
	line BLOB NOT NULL, 
	state VARCHAR(20) NOT NULL, 
	reason TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	billed BOOLEAN NOT NULL, 
	PRIMARY KEY (order_id, line_id)
);
CREATE TABLE postings (
	seq INTEGER NOT NULL, 
	kind VARCHAR(10) NOT NULL, 
	id VARCHAR(120) NOT NULL, 
	invoice_id VARCHAR(120) NOT NULL, 
	customer_id VARCHAR(120) NOT NULL, 
	contract_id VARCHAR(120) NOT NULL, 
	legal_entity VARCHAR(20) NOT NULL, 
	state VARCHAR(10) NOT NULL, 
	waits_for TEXT NOT NULL, 
	attempts INTEGER NOT NULL, 
	run INTEGER NOT NULL, 
	currency VARCHAR(3), 
	amount BIGINT, 
	tax BIGINT, 
	balance BIGINT, 
	number VARCHAR(60) NOT NULL, 
	correlation_id VARCHAR(120) NOT NULL, 
	look_at VARCHAR(40), 
	updated_at VARCHAR(40) NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (kind, id)
);
CREATE TABLE cases (
	seq INTEGER NOT NULL, 
	id VARCHAR(120) NOT NULL, 
	subject VARCHAR(120) NOT NULL, 
	kind VARCHAR(40) NOT NULL, 
	field VARCHAR(120) NOT NULL, 
	team VARCHAR(20) NOT NULL, 
	state VARCHAR(10) NOT NULL, 
	legal_entity VARCHAR(20) NOT NULL, 
	customer_id VARCHAR(120) NOT NULL, 
	document BLOB NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (id)
);
CREATE TABLE events (
	seq INTEGER NOT NULL, 
	source VARCHAR(60) NOT NULL, 
	id VARCHAR(120) NOT NULL, 
	type VARCHAR(120) NOT NULL, 
	subject VARCHAR(120) NOT NULL, 
	correlation_id VARCHAR(120) NOT NULL, 
	document BLOB NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (source, id)
);
CREATE TABLE executors (
	id VARCHAR(120) NOT NULL, 
	beat_at FLOAT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE dbos_migrations (version INTEGER NOT NULL PRIMARY KEY);
CREATE TABLE workflow_status (
    workflow_uuid TEXT PRIMARY KEY,
    status TEXT,
    name TEXT,
    authenticated_user TEXT,
    assumed_role TEXT,
    authenticated_roles TEXT,
    request TEXT,
    output TEXT,
    error TEXT,
    executor_id TEXT,
    created_at INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000),
    updated_at INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000),
    application_version TEXT,
    application_id TEXT,
    class_name TEXT DEFAULT NULL,
    config_name TEXT DEFAULT NULL,
    recovery_attempts INTEGER DEFAULT 0,
    queue_name TEXT,
    workflow_timeout_ms INTEGER,
    workflow_deadline_epoch_ms INTEGER,
    inputs TEXT,
    started_at_epoch_ms INTEGER,
    deduplication_id TEXT,
    priority INTEGER NOT NULL DEFAULT 0
, queue_partition_key TEXT, forked_from TEXT, "owner_xid" TEXT DEFAULT NULL, "parent_workflow_id" TEXT DEFAULT NULL, "serialization" TEXT DEFAULT NULL, "delay_until_epoch_ms" BIGINT DEFAULT NULL, "was_forked_from" BOOLEAN NOT NULL DEFAULT FALSE, "rate_limited" BOOLEAN NOT NULL DEFAULT FALSE, "completed_at" BIGINT, "attributes" TEXT, "schedule_name" TEXT, "debounce_deadline_epoch_ms" BIGINT DEFAULT NULL, "is_debounced" BOOLEAN NOT NULL DEFAULT FALSE, "application_name" TEXT DEFAULT NULL, "creator_xid" TEXT DEFAULT NULL);
CREATE TABLE notifications (
    message_uuid TEXT NOT NULL DEFAULT (hex(randomblob(16))) PRIMARY KEY,
    destination_uuid TEXT NOT NULL,
    topic TEXT,
    message TEXT NOT NULL,
    created_at_epoch_ms INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000), "serialization" TEXT DEFAULT NULL, "consumed" BOOLEAN NOT NULL DEFAULT FALSE, consumed_by_function_id INTEGER,
    FOREIGN KEY (destination_uuid) REFERENCES workflow_status(workflow_uuid) 
        ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE TABLE workflow_events (
    workflow_uuid TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL, "serialization" TEXT DEFAULT NULL,
    PRIMARY KEY (workflow_uuid, key),
    FOREIGN KEY (workflow_uuid) REFERENCES workflow_status(workflow_uuid) 
        ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE TABLE streams (
    workflow_uuid TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    "offset" INTEGER NOT NULL, function_id INTEGER NOT NULL DEFAULT 0, "serialization" TEXT DEFAULT NULL,
    PRIMARY KEY (workflow_uuid, key, "offset"),
    FOREIGN KEY (workflow_uuid) REFERENCES workflow_status(workflow_uuid) 
        ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE TABLE workflow_events_history (
    workflow_uuid TEXT NOT NULL,
    function_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL, "serialization" TEXT DEFAULT NULL,
    PRIMARY KEY (workflow_uuid, function_id, key),
    FOREIGN KEY (workflow_uuid) REFERENCES workflow_status(workflow_uuid)
        ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE TABLE workflow_schedules (
    schedule_id TEXT PRIMARY KEY,
    schedule_name TEXT NOT NULL UNIQUE,
    workflow_name TEXT NOT NULL,
    workflow_class_name TEXT,
    schedule TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'ACTIVE',
    context TEXT NOT NULL
, "last_fired_at" TEXT DEFAULT NULL, "automatic_backfill" BOOLEAN NOT NULL DEFAULT FALSE, "cron_timezone" TEXT DEFAULT NULL, "queue_name" TEXT DEFAULT NULL, "application_name" TEXT DEFAULT NULL);
CREATE TABLE application_versions (
    version_id TEXT NOT NULL PRIMARY KEY,
    version_name TEXT NOT NULL UNIQUE,
    version_timestamp INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000),
    created_at INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000)
, "application_name" TEXT DEFAULT NULL);
CREATE TABLE queues (
    queue_id TEXT PRIMARY KEY DEFAULT (hex(randomblob(16))),
    name TEXT NOT NULL UNIQUE,
    concurrency INTEGER,
    worker_concurrency INTEGER,
    rate_limit_max INTEGER,
    rate_limit_period_sec REAL,
    priority_enabled BOOLEAN NOT NULL DEFAULT FALSE,
    partition_queue BOOLEAN NOT NULL DEFAULT FALSE,
    polling_interval_sec REAL NOT NULL DEFAULT 1.0,
    created_at INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000),
    updated_at INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000)
, "application_name" TEXT DEFAULT NULL, "partition_concurrency" INTEGER DEFAULT NULL, "partition_worker_concurrency" INTEGER DEFAULT NULL, "partition_rate_limit_max" INTEGER DEFAULT NULL, "partition_rate_limit_period_sec" REAL DEFAULT NULL);
CREATE TABLE workflow_input (
    workflow_uuid TEXT NOT NULL PRIMARY KEY,
    inputs TEXT,
    retention_timestamp INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000)
);
CREATE TABLE workflow_output (
    workflow_uuid TEXT NOT NULL PRIMARY KEY,
    output TEXT,
    error TEXT,
    retention_timestamp INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000)
);
CREATE TABLE "operation_outputs" (
    workflow_uuid TEXT NOT NULL,
    function_id INTEGER NOT NULL,
    function_name TEXT NOT NULL DEFAULT '',
    output TEXT,
    error TEXT,
    child_workflow_id TEXT,
    started_at_epoch_ms INTEGER,
    completed_at_epoch_ms INTEGER,
    serialization TEXT,
    application_name TEXT DEFAULT NULL,
    retention_timestamp INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000),
    PRIMARY KEY (workflow_uuid, function_id)
);
INSERT INTO references_ VALUES ('cus', 'crm', '001gK0000000001QAA', 'cus_01a221c315ad799c90c68bb05540ae5e');
INSERT INTO references_ VALUES ('con', 'order', 'ord_01a221c31348793cb44ffa298905f20c', 'con_01a221c315af73cebcbb641b0cc2c364');
INSERT INTO references_ VALUES ('cus', 'crm', '001gK0000000003QAA', 'cus_01a221c342a6778b90a32cd079e773df');
INSERT INTO references_ VALUES ('con', 'order', 'ord_01a221c3420975878ca799f208015698', 'con_01a221c342a8793fb1832b55413d3fdd');
INSERT INTO references_ VALUES ('cus', 'crm', '001gK0000000004QAA', 'cus_01a221c3471a7786bf71b2bb372407b6');
INSERT INTO references_ VALUES ('con', 'order', 'ord_01a221c346af7be59c3564e13024210d', 'con_01a221c3471c71d284473a1dda636101');
INSERT INTO references_ VALUES ('cus', 'crm', '001gK0000000005QAA', 'cus_01a221c34df37e04a7aae4342655deb3');
INSERT INTO references_ VALUES ('con', 'order', 'ord_01a221c34d48791d86478bc4db8ff48c', 'con_01a221c34df97c32896efaa05514a58b');
INSERT INTO references_ VALUES ('cus', 'crm', '001gK0000000006QAA', 'cus_01a221c35266767298043a2f29a2493e');
INSERT INTO references_ VALUES ('con', 'order', 'ord_01a221c35200776eace08c69296265d3', 'con_01a221c3526c7707999e02f3de74fe1b');
INSERT INTO customers VALUES (1, 'cus_01a221c315ad799c90c68bb05540ae5e', '', CAST('{"id":"cus_01a221c315ad799c90c68bb05540ae5e","name":"Waiting GmbH","address":{"street":"Hauptstraße 1","postal_code":"10115","city":"Berlin","country":"DE"},"tax_number":"DE272390143","contact":{"name":"Kim Beispiel","email":"kim@example.com"},"parent_id":null,"payment_method":"pm_card_visa","tax_treatment":"standard","partner":"","legal_entity":"DE01","revision":"deb0bfee1e726c70","references":{"crm":"001gK0000000001QAA","billing":"cus_9c7a2150b84d17dc","erp":"2"}}' AS BLOB), 1, 1, 'cor_01a221c326e472468e8ee61363776b03', '2026-11-28T10:46:42.655426+00:00');
INSERT INTO customers VALUES (2, 'cus_01a221c342a6778b90a32cd079e773df', '', CAST('{"id":"cus_01a221c342a6778b90a32cd079e773df","name":"Activating GmbH","address":{"street":"Hauptstraße 1","postal_code":"10115","city":"Berlin","country":"DE"},"tax_number":"DE117724667","contact":{"name":"Kim Beispiel","email":"kim@example.com"},"parent_id":null,"payment_method":"pm_card_visa","tax_treatment":"standard","partner":"","legal_entity":"DE01","revision":"e0f12ba768d1c0f7","references":{"crm":"001gK0000000003QAA","billing":"cus_8fd9b3ba3fb91ca2","erp":"3"}}' AS BLOB), 0, 0, '', NULL);
INSERT INTO customers VALUES (3, 'cus_01a221c3471a7786bf71b2bb372407b6', '', CAST('{"id":"cus_01a221c3471a7786bf71b2bb372407b6","name":"Posting GmbH","address":{"street":"Hauptstraße 1","postal_code":"10115","city":"Berlin","country":"DE"},"tax_number":"DE271807151","contact":{"name":"Kim Beispiel","email":"kim@example.com"},"parent_id":null,"payment_method":"pm_card_visa","tax_treatment":"standard","partner":"","legal_entity":"DE01","revision":"bfc1e5c0c005b289","references":{"crm":"001gK0000000004QAA","billing":"cus_19fcc28134d56064","erp":"4"}}' AS BLOB), 0, 0, '', NULL);
INSERT INTO customers VALUES (4, 'cus_01a221c34df37e04a7aae4342655deb3', '', CAST('{"id":"cus_01a221c34df37e04a7aae4342655deb3","name":"Delivering GmbH","address":{"street":"Hauptstraße 1","postal_code":"10115","city":"Berlin","country":"DE"},"tax_number":"DE219961743","contact":{"name":"Kim Beispiel","email":"kim@example.com"},"parent_id":null,"payment_method":"pm_card_visa","tax_treatment":"standard","partner":"","legal_entity":"DE01","revision":"a0f92e9595a7b056","references":{"crm":"001gK0000000005QAA","billing":"cus_7dfdd01ff1980e7b","erp":"5"}}' AS BLOB), 0, 0, '', NULL);
INSERT INTO orders VALUES (1, 'ord_01a221c31348793cb44ffa298905f20c', '006gK0000000001QAA', 1, 'Waiting GmbH – subscription', 'active', '', '', 'DE01', 'cus_01a221c315ad799c90c68bb05540ae5e', '', 'integration@example.com', 'cor_01a221c3133073d5b583f04b7e5aa1f9', CAST('{"customer":{"id":"cus_01a221c315ad799c90c68bb05540ae5e","name":"Waiting GmbH","address":{"street":"Hauptstraße 1","postal_code":"10115","city":"Berlin","country":"DE"},"tax_number":"DE272390143","contact":{"name":"Kim Beispiel","email":"kim@example.com"},"parent_id":null,"payment_method":"pm_card_visa","tax_treatment":"standard","partner":"","legal_entity":"DE01","revision":"deb0bfee1e726c70","references":{"crm":"001gK0000000001QAA","billing":"cus_9c7a2150b84d17dc","erp":"2"}},"contract":{"id":"con_01a221c315af73cebcbb641b0cc2c364","order_id":"ord_01a221c31348793cb44ffa298905f20c","customer_id":"cus_01a221c315ad799c90c68bb05540ae5e","legal_entity":"DE01","currency":"EUR","starts_on":"2026-11-28","term_months":12,"lines":[{"id":"00kgK0000000001QAA","sku":"PLATFORM","name":"Platform fee","quantity":1,"unit_price":{"amount":600000,"currency":"EUR"},"interval":"year"},{"id":"00kgK0000000002QAA","sku":"SEAT","name":"Seat","quantity":25,"unit_price":{"amount":24000,"currency":"EUR"},"interval":"year"},{"id":"00kgK0000000003QAA","sku":"ONBOARDING","name":"Onboarding","quantity":1,"unit_price":{"amount":150000,"currency":"EUR"},"interval":"one_time"}],"tax":"standard","tax_percent":"19","group":"main","state":"active","references":{"customer":"cus_9c7a2150b84d17dc","schedule":"sub_sched_399f45eea899712f","subscription":"sub_13b94517dd0b7126","invoice":"in_d001c6e6065d8284"}},"account_id":"001gK0000000001QAA"}' AS BLOB), 1, 1, 0, NULL, 'active', '2026-11-28T10:46:02.312229+00:00', '2026-11-28T10:46:04.170903+00:00');
INSERT INTO orders VALUES (2, 'ord_01a221c33ed97558b004ff3ac763daa4', '006gK0000000002QAA', 1, 'Held GmbH – subscription', 'on_hold', 'validating', 'Account.VatNumber__c: DE123456789 is not a valid tax number', '', '', '', 'integration@example.com', 'cor_01a221c33ed473299c8a3d0c93e71594', NULL, 1, 1, 0, NULL, 'on_hold', '2026-11-28T10:46:13.465601+00:00', '2026-11-28T10:46:13.676752+00:00');
INSERT INTO orders VALUES (3, 'ord_01a221c3420975878ca799f208015698', '006gK0000000003QAA', 1, 'Activating GmbH – subscription', 'provisioning', '', '', 'DE01', 'cus_01a221c342a6778b90a32cd079e773df', '', 'integration@example.com', 'cor_01a221c34204762ca1ccec50e7684a13', CAST('{"customer":{"id":"cus_01a221c342a6778b90a32cd079e773df","name":"Activating GmbH","address":{"street":"Hauptstraße 1","postal_code":"10115","city":"Berlin","country":"DE"},"tax_number":"DE117724667","contact":{"name":"Kim Beispiel","email":"kim@example.com"},"parent_id":null,"payment_method":"pm_card_visa","tax_treatment":"standard","partner":"","legal_entity":"DE01","revision":"e0f12ba768d1c0f7","references":{"crm":"001gK0000000003QAA","billing":"cus_8fd9b3ba3fb91ca2","erp":"3"}},"contract":{"id":"con_01a221c342a8793fb1832b55413d3fdd","order_id":"ord_01a221c3420975878ca799f208015698","customer_id":"cus_01a221c342a6778b90a32cd079e773df","legal_entity":"DE01","currency":"EUR","starts_on":"2026-11-28","term_months":12,"lines":[{"id":"00kgK0000000007QAA","sku":"PLATFORM","name":"Platform fee","quantity":1,"unit_price":{"amount":600000,"currency":"EUR"},"interval":"year"},{"id":"00kgK0000000008QAA","sku":"SEAT","name":"Seat","quantity":25,"unit_price":{"amount":24000,"currency":"EUR"},"interval":"year"},{"id":"00kgK0000000009QAA","sku":"ONBOARDING","name":"Onboarding","quantity":1,"unit_price":{"amount":150000,"currency":"EUR"},"interval":"one_time"}],"tax":"standard","tax_percent":"19","group":"main","state":"pending","references":{"customer":"cus_8fd9b3ba3fb91ca2","schedule":"sub_sched_a19adf22165aa065"}},"account_id":"001gK0000000003QAA"}' AS BLOB), 1, 1, 0, '2026-11-28T11:46:15.199513+00:00', '', '2026-11-28T10:46:14.281589+00:00', '2026-11-28T10:46:15.172230+00:00');
INSERT INTO orders VALUES (4, 'ord_01a221c346af7be59c3564e13024210d', '006gK0000000004QAA', 1, 'Posting GmbH – subscription', 'active', '', '', 'DE01', 'cus_01a221c3471a7786bf71b2bb372407b6', '', 'integration@example.com', 'cor_01a221c346a87c3ebd8965eb6271bbcf', CAST('{"customer":{"id":"cus_01a221c3471a7786bf71b2bb372407b6","name":"Posting GmbH","address":{"street":"Hauptstraße 1","postal_code":"10115","city":"Berlin","country":"DE"},"tax_number":"DE271807151","contact":{"name":"Kim Beispiel","email":"kim@example.com"},"parent_id":null,"payment_method":"pm_card_visa","tax_treatment":"standard","partner":"","legal_entity":"DE01","revision":"bfc1e5c0c005b289","references":{"crm":"001gK0000000004QAA","billing":"cus_19fcc28134d56064","erp":"4"}},"contract":{"id":"con_01a221c3471c71d284473a1dda636101","order_id":"ord_01a221c346af7be59c3564e13024210d","customer_id":"cus_01a221c3471a7786bf71b2bb372407b6","legal_entity":"DE01","currency":"EUR","starts_on":"2026-11-28","term_months":12,"lines":[{"id":"00kgK000000000AQAQ","sku":"PLATFORM","name":"Platform fee","quantity":1,"unit_price":{"amount":600000,"currency":"EUR"},"interval":"year"},{"id":"00kgK000000000BQAQ","sku":"SEAT","name":"Seat","quantity":25,"unit_price":{"amount":24000,"currency":"EUR"},"interval":"year"},{"id":"00kgK000000000CQAQ","sku":"ONBOARDING","name":"Onboarding","quantity":1,"unit_price":{"amount":150000,"currency":"EUR"},"interval":"one_time"}],"tax":"standard","tax_percent":"19","group":"main","state":"active","references":{"customer":"cus_19fcc28134d56064","schedule":"sub_sched_5ad82e857558a3cf","subscription":"sub_fce7cecbed2076b7","invoice":"in_2a7d425910c0bf7c"}},"account_id":"001gK0000000004QAA"}' AS BLOB), 1, 1, 0, NULL, 'active', '2026-11-28T10:46:15.471670+00:00', '2026-11-28T10:46:24.359313+00:00');
INSERT INTO orders VALUES (5, 'ord_01a221c34d48791d86478bc4db8ff48c', '006gK0000000005QAA', 1, 'Delivering GmbH – subscription', 'provisioning', '', '', 'DE01', 'cus_01a221c34df37e04a7aae4342655deb3', '', 'integration@example.com', 'cor_01a221c34d447e7cb259d07d040ef433', CAST('{"customer":{"id":"cus_01a221c34df37e04a7aae4342655deb3","name":"Delivering GmbH","address":{"street":"Hauptstraße 1","postal_code":"10115","city":"Berlin","country":"DE"},"tax_number":"DE219961743","contact":{"name":"Kim Beispiel","email":"kim@example.com"},"parent_id":null,"payment_method":"pm_card_visa","tax_treatment":"standard","partner":"","legal_entity":"DE01","revision":"a0f92e9595a7b056","references":{"crm":"001gK0000000005QAA","billing":"cus_7dfdd01ff1980e7b","erp":"5"}},"contract":{"id":"con_01a221c34df97c32896efaa05514a58b","order_id":"ord_01a221c34d48791d86478bc4db8ff48c","customer_id":"cus_01a221c34df37e04a7aae4342655deb3","legal_entity":"DE01","currency":"EUR","starts_on":"2026-11-28","term_months":12,"lines":[{"id":"00kgK000000000DQAQ","sku":"PLATFORM","name":"Platform fee","quantity":1,"unit_price":{"amount":600000,"currency":"EUR"},"interval":"year"},{"id":"00kgK000000000EQAQ","sku":"SEAT","name":"Seat","quantity":25,"unit_price":{"amount":24000,"currency":"EUR"},"interval":"year"},{"id":"00kgK000000000FQAQ","sku":"ONBOARDING","name":"Onboarding","quantity":1,"unit_price":{"amount":150000,"currency":"EUR"},"interval":"one_time"}],"tax":"standard","tax_percent":"19","group":"main","state":"pending","references":{"customer":"cus_7dfdd01ff1980e7b","schedule":"sub_sched_114dfc4e496a96ae"}},"account_id":"001gK0000000005QAA"}' AS BLOB), 1, 1, 0, '2026-11-28T11:46:17.928079+00:00', '', '2026-11-28T10:46:17.160282+00:00', '2026-11-28T10:46:17.878627+00:00');
INSERT INTO orders VALUES (6, 'ord_01a221c35200776eace08c69296265d3', '006gK0000000006QAA', 1, 'Onboarding GmbH – subscription', 'onboarding', '', '', 'DE01', 'cus_01a221c35266767298043a2f29a2493e', '', 'integration@example.com', 'cor_01a221c351fa7272a49169dd65a73e1f', CAST('{"customer":{"id":"cus_01a221c35266767298043a2f29a2493e","name":"Onboarding GmbH","address":{"street":"Hauptstraße 1","postal_code":"10115","city":"Berlin","country":"DE"},"tax_number":"DE232361641","contact":{"name":"Kim Beispiel","email":"kim@example.com"},"parent_id":null,"payment_method":"pm_card_visa","tax_treatment":"standard","partner":"","legal_entity":"DE01","revision":"b0bd4b80b1d2dcf9","references":{"crm":"001gK0000000006QAA"}},"contract":{"id":"con_01a221c3526c7707999e02f3de74fe1b","order_id":"ord_01a221c35200776eace08c69296265d3","customer_id":"cus_01a221c35266767298043a2f29a2493e","legal_entity":"DE01","currency":"EUR","starts_on":"2026-11-28","term_months":12,"lines":[{"id":"00kgK000000000GQAQ","sku":"PLATFORM","name":"Platform fee","quantity":1,"unit_price":{"amount":600000,"currency":"EUR"},"interval":"year"},{"id":"00kgK000000000HQAQ","sku":"SEAT","name":"Seat","quantity":25,"unit_price":{"amount":24000,"currency":"EUR"},"interval":"year"},{"id":"00kgK000000000IQAQ","sku":"ONBOARDING","name":"Onboarding","quantity":1,"unit_price":{"amount":150000,"currency":"EUR"},"interval":"one_time"}],"tax":"standard","tax_percent":"19","group":"main","state":"pending","references":{}},"account_id":"001gK0000000006QAA"}' AS BLOB), 1, 1, 0, '2026-11-28T10:47:18.611187+00:00', '', '2026-11-28T10:46:18.368255+00:00', '2026-11-28T10:46:18.610980+00:00');
INSERT INTO orders VALUES (7, 'ord_01a221c36b117ae9a1c8ddd520f60e3c', '006gK0000000007QAA', 1, '', 'validating', '', '', '', '', '', '', 'cor_01a221c36b0e7f5197144b02099f8838', NULL, 1, 1, 0, '2026-11-28T10:47:24.798879+00:00', '', '2026-11-28T10:46:24.785863+00:00', '2026-11-28T10:46:24.798600+00:00');
INSERT INTO order_states VALUES (1, 'ord_01a221c31348793cb44ffa298905f20c', 'received', '2026-11-28T10:46:02.312229+00:00');
INSERT INTO order_states VALUES (2, 'ord_01a221c31348793cb44ffa298905f20c', 'validating', '2026-11-28T10:46:02.364625+00:00');
INSERT INTO order_states VALUES (3, 'ord_01a221c31348793cb44ffa298905f20c', 'credit_review', '2026-11-28T10:46:03.014091+00:00');
INSERT INTO order_states VALUES (4, 'ord_01a221c31348793cb44ffa298905f20c', 'onboarding', '2026-11-28T10:46:03.073778+00:00');
INSERT INTO order_states VALUES (5, 'ord_01a221c31348793cb44ffa298905f20c', 'subscribing', '2026-11-28T10:46:03.745646+00:00');
INSERT INTO order_states VALUES (6, 'ord_01a221c31348793cb44ffa298905f20c', 'provisioning', '2026-11-28T10:46:03.873218+00:00');
INSERT INTO order_states VALUES (7, 'ord_01a221c31348793cb44ffa298905f20c', 'active', '2026-11-28T10:46:04.170903+00:00');
INSERT INTO order_states VALUES (8, 'ord_01a221c33ed97558b004ff3ac763daa4', 'received', '2026-11-28T10:46:13.465601+00:00');
INSERT INTO order_states VALUES (9, 'ord_01a221c33ed97558b004ff3ac763daa4', 'validating', '2026-11-28T10:46:13.483064+00:00');
INSERT INTO order_states VALUES (10, 'ord_01a221c33ed97558b004ff3ac763daa4', 'on_hold', '2026-11-28T10:46:13.676752+00:00');
INSERT INTO order_states VALUES (11, 'ord_01a221c3420975878ca799f208015698', 'received', '2026-11-28T10:46:14.281589+00:00');
INSERT INTO order_states VALUES (12, 'ord_01a221c3420975878ca799f208015698', 'validating', '2026-11-28T10:46:14.304776+00:00');
INSERT INTO order_states VALUES (13, 'ord_01a221c3420975878ca799f208015698', 'credit_review', '2026-11-28T10:46:14.451674+00:00');
INSERT INTO order_states VALUES (14, 'ord_01a221c3420975878ca799f208015698', 'onboarding', '2026-11-28T10:46:14.617264+00:00');
INSERT INTO order_states VALUES (15, 'ord_01a221c3420975878ca799f208015698', 'subscribing', '2026-11-28T10:46:15.149877+00:00');
INSERT INTO order_states VALUES (16, 'ord_01a221c3420975878ca799f208015698', 'provisioning', '2026-11-28T10:46:15.172230+00:00');
INSERT INTO order_states VALUES (17, 'ord_01a221c346af7be59c3564e13024210d', 'received', '2026-11-28T10:46:15.471670+00:00');
INSERT INTO order_states VALUES (18, 'ord_01a221c346af7be59c3564e13024210d', 'validating', '2026-11-28T10:46:15.492771+00:00');
INSERT INTO order_states VALUES (19, 'ord_01a221c346af7be59c3564e13024210d', 'credit_review', '2026-11-28T10:46:15.602387+00:00');
INSERT INTO order_states VALUES (20, 'ord_01a221c346af7be59c3564e13024210d', 'onboarding', '2026-11-28T10:46:15.722591+00:00');
INSERT INTO order_states VALUES (21, 'ord_01a221c346af7be59c3564e13024210d', 'subscribing', '2026-11-28T10:46:16.116888+00:00');
INSERT INTO order_states VALUES (22, 'ord_01a221c346af7be59c3564e13024210d', 'provisioning', '2026-11-28T10:46:16.169654+00:00');
INSERT INTO order_states VALUES (23, 'ord_01a221c34d48791d86478bc4db8ff48c', 'received', '2026-11-28T10:46:17.160282+00:00');
INSERT INTO order_states VALUES (24, 'ord_01a221c34d48791d86478bc4db8ff48c', 'validating', '2026-11-28T10:46:17.177193+00:00');
INSERT INTO order_states VALUES (25, 'ord_01a221c34d48791d86478bc4db8ff48c', 'credit_review', '2026-11-28T10:46:17.377395+00:00');
INSERT INTO order_states VALUES (26, 'ord_01a221c34d48791d86478bc4db8ff48c', 'onboarding', '2026-11-28T10:46:17.506308+00:00');
INSERT INTO order_states VALUES (27, 'ord_01a221c34d48791d86478bc4db8ff48c', 'subscribing', '2026-11-28T10:46:17.849692+00:00');
INSERT INTO order_states VALUES (28, 'ord_01a221c34d48791d86478bc4db8ff48c', 'provisioning', '2026-11-28T10:46:17.878627+00:00');
INSERT INTO order_states VALUES (29, 'ord_01a221c35200776eace08c69296265d3', 'received', '2026-11-28T10:46:18.368255+00:00');
INSERT INTO order_states VALUES (30, 'ord_01a221c35200776eace08c69296265d3', 'validating', '2026-11-28T10:46:18.378706+00:00');
INSERT INTO order_states VALUES (31, 'ord_01a221c35200776eace08c69296265d3', 'credit_review', '2026-11-28T10:46:18.501985+00:00');
INSERT INTO order_states VALUES (32, 'ord_01a221c35200776eace08c69296265d3', 'onboarding', '2026-11-28T10:46:18.610980+00:00');
INSERT INTO order_states VALUES (33, 'ord_01a221c346af7be59c3564e13024210d', 'active', '2026-11-28T10:46:24.359313+00:00');
INSERT INTO order_states VALUES (34, 'ord_01a221c36b117ae9a1c8ddd520f60e3c', 'received', '2026-11-28T10:46:24.785863+00:00');
INSERT INTO order_states VALUES (35, 'ord_01a221c36b117ae9a1c8ddd520f60e3c', 'validating', '2026-11-28T10:46:24.798600+00:00');
INSERT INTO order_lines VALUES ('ord_01a221c31348793cb44ffa298905f20c', '00kgK0000000001QAA', 0, CAST('{"id":"00kgK0000000001QAA","sku":"PLATFORM","name":"Platform fee","quantity":1,"unit_price":{"amount":600000,"currency":"EUR"},"interval":"year"}' AS BLOB), 'provisioned', '', 1, 1);
INSERT INTO order_lines VALUES ('ord_01a221c31348793cb44ffa298905f20c', '00kgK0000000002QAA', 1, CAST('{"id":"00kgK0000000002QAA","sku":"SEAT","name":"Seat","quantity":25,"unit_price":{"amount":24000,"currency":"EUR"},"interval":"year"}' AS BLOB), 'provisioned', '', 1, 1);
INSERT INTO order_lines VALUES ('ord_01a221c31348793cb44ffa298905f20c', '00kgK0000000003QAA', 2, CAST('{"id":"00kgK0000000003QAA","sku":"ONBOARDING","name":"Onboarding","quantity":1,"unit_price":{"amount":150000,"currency":"EUR"},"interval":"one_time"}' AS BLOB), 'provisioned', '', 1, 1);
INSERT INTO order_lines VALUES ('ord_01a221c3420975878ca799f208015698', '00kgK0000000007QAA', 0, CAST('{"id":"00kgK0000000007QAA","sku":"PLATFORM","name":"Platform fee","quantity":1,"unit_price":{"amount":600000,"currency":"EUR"},"interval":"year"}' AS BLOB), 'provisioned', '', 1, 0);
INSERT INTO order_lines VALUES ('ord_01a221c3420975878ca799f208015698', '00kgK0000000008QAA', 1, CAST('{"id":"00kgK0000000008QAA","sku":"SEAT","name":"Seat","quantity":25,"unit_price":{"amount":24000,"currency":"EUR"},"interval":"year"}' AS BLOB), 'provisioned', '', 1, 0);
INSERT INTO order_lines VALUES ('ord_01a221c3420975878ca799f208015698', '00kgK0000000009QAA', 2, CAST('{"id":"00kgK0000000009QAA","sku":"ONBOARDING","name":"Onboarding","quantity":1,"unit_price":{"amount":150000,"currency":"EUR"},"interval":"one_time"}' AS BLOB), 'provisioned', '', 1, 0);
INSERT INTO order_lines VALUES ('ord_01a221c346af7be59c3564e13024210d', '00kgK000000000AQAQ', 0, CAST('{"id":"00kgK000000000AQAQ","sku":"PLATFORM","name":"Platform fee","quantity":1,"unit_price":{"amount":600000,"currency":"EUR"},"interval":"year"}' AS BLOB), 'provisioned', '', 1, 1);
INSERT INTO order_lines VALUES ('ord_01a221c346af7be59c3564e13024210d', '00kgK000000000BQAQ', 1, CAST('{"id":"00kgK000000000BQAQ","sku":"SEAT","name":"Seat","quantity":25,"unit_price":{"amount":24000,"currency":"EUR"},"interval":"year"}' AS BLOB), 'provisioned', '', 1, 1);
INSERT INTO order_lines VALUES ('ord_01a221c346af7be59c3564e13024210d', '00kgK000000000CQAQ', 2, CAST('{"id":"00kgK000000000CQAQ","sku":"ONBOARDING","name":"Onboarding","quantity":1,"unit_price":{"amount":150000,"currency":"EUR"},"interval":"one_time"}' AS BLOB), 'provisioned', '', 1, 1);
INSERT INTO order_lines VALUES ('ord_01a221c34d48791d86478bc4db8ff48c', '00kgK000000000DQAQ', 0, CAST('{"id":"00kgK000000000DQAQ","sku":"PLATFORM","name":"Platform fee","quantity":1,"unit_price":{"amount":600000,"currency":"EUR"},"interval":"year"}' AS BLOB), 'requested', '', 1, 0);
INSERT INTO order_lines VALUES ('ord_01a221c34d48791d86478bc4db8ff48c', '00kgK000000000EQAQ', 1, CAST('{"id":"00kgK000000000EQAQ","sku":"SEAT","name":"Seat","quantity":25,"unit_price":{"amount":24000,"currency":"EUR"},"interval":"year"}' AS BLOB), 'requested', '', 1, 0);
INSERT INTO order_lines VALUES ('ord_01a221c34d48791d86478bc4db8ff48c', '00kgK000000000FQAQ', 2, CAST('{"id":"00kgK000000000FQAQ","sku":"ONBOARDING","name":"Onboarding","quantity":1,"unit_price":{"amount":150000,"currency":"EUR"},"interval":"one_time"}' AS BLOB), 'requested', '', 1, 0);
INSERT INTO order_lines VALUES ('ord_01a221c35200776eace08c69296265d3', '00kgK000000000GQAQ', 0, CAST('{"id":"00kgK000000000GQAQ","sku":"PLATFORM","name":"Platform fee","quantity":1,"unit_price":{"amount":600000,"currency":"EUR"},"interval":"year"}' AS BLOB), 'waiting', '', 1, 0);
INSERT INTO order_lines VALUES ('ord_01a221c35200776eace08c69296265d3', '00kgK000000000HQAQ', 1, CAST('{"id":"00kgK000000000HQAQ","sku":"SEAT","name":"Seat","quantity":25,"unit_price":{"amount":24000,"currency":"EUR"},"interval":"year"}' AS BLOB), 'waiting', '', 1, 0);
INSERT INTO order_lines VALUES ('ord_01a221c35200776eace08c69296265d3', '00kgK000000000IQAQ', 2, CAST('{"id":"00kgK000000000IQAQ","sku":"ONBOARDING","name":"Onboarding","quantity":1,"unit_price":{"amount":150000,"currency":"EUR"},"interval":"one_time"}' AS BLOB), 'waiting', '', 1, 0);
INSERT INTO postings VALUES (1, 'invoice', 'in_d001c6e6065d8284', 'in_d001c6e6065d8284', 'cus_01a221c315ad799c90c68bb05540ae5e', 'con_01a221c315af73cebcbb641b0cc2c364', 'DE01', 'waiting', 'erp: Tryton is not available', 1, 1, NULL, NULL, NULL, NULL, '', 'cor_01a221c3133073d5b583f04b7e5aa1f9', '2026-11-28T10:46:37.142409+00:00', '2026-11-28T10:46:07.142450+00:00');
INSERT INTO postings VALUES (2, 'payment', 'in_d001c6e6065d8284', 'in_d001c6e6065d8284', 'cus_01a221c315ad799c90c68bb05540ae5e', 'con_01a221c315af73cebcbb641b0cc2c364', 'DE01', 'waiting', 'its invoice is not posted yet', 0, 0, NULL, NULL, NULL, NULL, '', 'cor_01a221c3133073d5b583f04b7e5aa1f9', '2026-11-28T10:47:04.298752+00:00', '2026-11-28T10:46:04.298765+00:00');
INSERT INTO postings VALUES (3, 'invoice', 'in_2a7d425910c0bf7c', 'in_2a7d425910c0bf7c', 'cus_01a221c3471a7786bf71b2bb372407b6', 'con_01a221c3471c71d284473a1dda636101', 'DE01', 'waiting', '', 0, 1, NULL, NULL, NULL, NULL, '', 'cor_01a221c346a87c3ebd8965eb6271bbcf', '2026-11-28T10:47:24.387364+00:00', '2026-11-28T10:46:24.387391+00:00');
INSERT INTO postings VALUES (4, 'payment', 'in_2a7d425910c0bf7c', 'in_2a7d425910c0bf7c', 'cus_01a221c3471a7786bf71b2bb372407b6', 'con_01a221c3471c71d284473a1dda636101', 'DE01', 'waiting', 'its invoice is not posted yet', 0, 0, NULL, NULL, NULL, NULL, '', 'cor_01a221c346a87c3ebd8965eb6271bbcf', '2026-11-28T10:47:24.488609+00:00', '2026-11-28T10:46:24.488636+00:00');
INSERT INTO cases VALUES (1, 'cas_01a221c33fa07a98ac453841ab9f8b3d', 'ord_01a221c33ed97558b004ff3ac763daa4', 'deal_invalid', 'Account.VatNumber__c', 'finance', 'open', '', '', CAST('{"id":"cas_01a221c33fa07a98ac453841ab9f8b3d","kind":"deal_invalid","team":"finance","subject":"ord_01a221c33ed97558b004ff3ac763daa4","field":"Account.VatNumber__c","reason":"DE123456789 is not a valid tax number","actions":["retry","compensate"],"state":"open","opened_at":"2026-11-28T10:46:13.664467Z","correlation_id":"cor_01a221c33ed473299c8a3d0c93e71594","input":{"deal":"006gK0000000002QAA","state":"validating"},"resolved_at":null,"resolution":""}' AS BLOB));
INSERT INTO events VALUES (1, 'crm/salesforce', '006gK0000000001QAA:1', 'com.tiergate.crm.deal.closed.v1', '006gK0000000001QAA', 'cor_01a221c3133073d5b583f04b7e5aa1f9', CAST('{"id":"006gK0000000001QAA:1","source":"crm/salesforce","type":"com.tiergate.crm.deal.closed.v1","subject":"006gK0000000001QAA","time":"2026-11-28T10:46:02.120000Z","specversion":"1.0","data":{"revision":"1"}}' AS BLOB));
INSERT INTO events VALUES (2, 'provisioning/webhook', 'ord_01a221c31348793cb44ffa298905f20c:00kgK0000000001QAA:1', 'com.tiergate.provisioning.line.reported.v1', 'ord_01a221c31348793cb44ffa298905f20c', 'cor_01a221c3133073d5b583f04b7e5aa1f9', CAST('{"id":"ord_01a221c31348793cb44ffa298905f20c:00kgK0000000001QAA:1","source":"provisioning/webhook","type":"com.tiergate.provisioning.line.reported.v1","subject":"ord_01a221c31348793cb44ffa298905f20c","time":"2026-11-28T10:46:04.041069Z","specversion":"1.0","data":{"line":"00kgK0000000001QAA","succeeded":"true","reason":""}}' AS BLOB));
INSERT INTO events VALUES (3, 'provisioning/webhook', 'ord_01a221c31348793cb44ffa298905f20c:00kgK0000000002QAA:1', 'com.tiergate.provisioning.line.reported.v1', 'ord_01a221c31348793cb44ffa298905f20c', 'cor_01a221c3133073d5b583f04b7e5aa1f9', CAST('{"id":"ord_01a221c31348793cb44ffa298905f20c:00kgK0000000002QAA:1","source":"provisioning/webhook","type":"com.tiergate.provisioning.line.reported.v1","subject":"ord_01a221c31348793cb44ffa298905f20c","time":"2026-11-28T10:46:04.068569Z","specversion":"1.0","data":{"line":"00kgK0000000002QAA","succeeded":"true","reason":""}}' AS BLOB));
INSERT INTO events VALUES (4, 'provisioning/webhook', 'ord_01a221c31348793cb44ffa298905f20c:00kgK0000000003QAA:1', 'com.tiergate.provisioning.line.reported.v1', 'ord_01a221c31348793cb44ffa298905f20c', 'cor_01a221c3133073d5b583f04b7e5aa1f9', CAST('{"id":"ord_01a221c31348793cb44ffa298905f20c:00kgK0000000003QAA:1","source":"provisioning/webhook","type":"com.tiergate.provisioning.line.reported.v1","subject":"ord_01a221c31348793cb44ffa298905f20c","time":"2026-11-28T10:46:04.083682Z","specversion":"1.0","data":{"line":"00kgK0000000003QAA","succeeded":"true","reason":""}}' AS BLOB));
INSERT INTO events VALUES (5, 'billing/stripe', 'evt_95400290b4a5fb98', 'com.tiergate.billing.invoice.finalized.v1', 'in_d001c6e6065d8284', 'cor_01a221c3133073d5b583f04b7e5aa1f9', CAST('{"id":"evt_95400290b4a5fb98","source":"billing/stripe","type":"com.tiergate.billing.invoice.finalized.v1","subject":"in_d001c6e6065d8284","time":"2026-11-28T10:46:04Z","specversion":"1.0","data":{"contract":"con_01a221c315af73cebcbb641b0cc2c364","customer":"cus_01a221c315ad799c90c68bb05540ae5e","legal_entity":"DE01"}}' AS BLOB));
INSERT INTO events VALUES (6, 'billing/stripe', 'evt_fde2e6a2f11fd9a5', 'com.tiergate.billing.invoice.paid.v1', 'in_d001c6e6065d8284', 'cor_01a221c3133073d5b583f04b7e5aa1f9', CAST('{"id":"evt_fde2e6a2f11fd9a5","source":"billing/stripe","type":"com.tiergate.billing.invoice.paid.v1","subject":"in_d001c6e6065d8284","time":"2026-11-28T10:46:04Z","specversion":"1.0","data":{"contract":"con_01a221c315af73cebcbb641b0cc2c364","customer":"cus_01a221c315ad799c90c68bb05540ae5e","legal_entity":"DE01"}}' AS BLOB));
INSERT INTO events VALUES (7, 'crm/salesforce', '001gK0000000001QAA:2026-11-28T10:46:07.185+0000:90ad834e3069abbc', 'com.tiergate.crm.customer.changed.v1', 'cus_01a221c315ad799c90c68bb05540ae5e', 'cor_01a221c326e472468e8ee61363776b03', CAST('{"id":"001gK0000000001QAA:2026-11-28T10:46:07.185+0000:90ad834e3069abbc","source":"crm/salesforce","type":"com.tiergate.crm.customer.changed.v1","subject":"cus_01a221c315ad799c90c68bb05540ae5e","time":"2026-11-28T10:46:07.185000Z","specversion":"1.0","data":{"account":"001gK0000000001QAA"}}' AS BLOB));
INSERT INTO events VALUES (8, 'crm/salesforce', '006gK0000000002QAA:1', 'com.tiergate.crm.deal.closed.v1', '006gK0000000002QAA', 'cor_01a221c33ed473299c8a3d0c93e71594', CAST('{"id":"006gK0000000002QAA:1","source":"crm/salesforce","type":"com.tiergate.crm.deal.closed.v1","subject":"006gK0000000002QAA","time":"2026-11-28T10:46:13.352000Z","specversion":"1.0","data":{"revision":"1"}}' AS BLOB));
INSERT INTO events VALUES (9, 'crm/salesforce', '006gK0000000003QAA:1', 'com.tiergate.crm.deal.closed.v1', '006gK0000000003QAA', 'cor_01a221c34204762ca1ccec50e7684a13', CAST('{"id":"006gK0000000003QAA:1","source":"crm/salesforce","type":"com.tiergate.crm.deal.closed.v1","subject":"006gK0000000003QAA","time":"2026-11-28T10:46:14.139000Z","specversion":"1.0","data":{"revision":"1"}}' AS BLOB));
INSERT INTO events VALUES (10, 'crm/salesforce', '006gK0000000004QAA:1', 'com.tiergate.crm.deal.closed.v1', '006gK0000000004QAA', 'cor_01a221c346a87c3ebd8965eb6271bbcf', CAST('{"id":"006gK0000000004QAA:1","source":"crm/salesforce","type":"com.tiergate.crm.deal.closed.v1","subject":"006gK0000000004QAA","time":"2026-11-28T10:46:15.408000Z","specversion":"1.0","data":{"revision":"1"}}' AS BLOB));
INSERT INTO events VALUES (11, 'crm/salesforce', '006gK0000000005QAA:1', 'com.tiergate.crm.deal.closed.v1', '006gK0000000005QAA', 'cor_01a221c34d447e7cb259d07d040ef433', CAST('{"id":"006gK0000000005QAA:1","source":"crm/salesforce","type":"com.tiergate.crm.deal.closed.v1","subject":"006gK0000000005QAA","time":"2026-11-28T10:46:16.853000Z","specversion":"1.0","data":{"revision":"1"}}' AS BLOB));
INSERT INTO events VALUES (12, 'crm/salesforce', '006gK0000000006QAA:1', 'com.tiergate.crm.deal.closed.v1', '006gK0000000006QAA', 'cor_01a221c351fa7272a49169dd65a73e1f', CAST('{"id":"006gK0000000006QAA:1","source":"crm/salesforce","type":"com.tiergate.crm.deal.closed.v1","subject":"006gK0000000006QAA","time":"2026-11-28T10:46:18.256000Z","specversion":"1.0","data":{"revision":"1"}}' AS BLOB));
INSERT INTO events VALUES (13, 'provisioning/webhook', 'ord_01a221c3420975878ca799f208015698:00kgK0000000007QAA:1', 'com.tiergate.provisioning.line.reported.v1', 'ord_01a221c3420975878ca799f208015698', 'cor_01a221c34204762ca1ccec50e7684a13', CAST('{"id":"ord_01a221c3420975878ca799f208015698:00kgK0000000007QAA:1","source":"provisioning/webhook","type":"com.tiergate.provisioning.line.reported.v1","subject":"ord_01a221c3420975878ca799f208015698","time":"2026-11-28T10:46:23.215655Z","specversion":"1.0","data":{"line":"00kgK0000000007QAA","succeeded":"true","reason":""}}' AS BLOB));
INSERT INTO events VALUES (14, 'provisioning/webhook', 'ord_01a221c3420975878ca799f208015698:00kgK0000000008QAA:1', 'com.tiergate.provisioning.line.reported.v1', 'ord_01a221c3420975878ca799f208015698', 'cor_01a221c34204762ca1ccec50e7684a13', CAST('{"id":"ord_01a221c3420975878ca799f208015698:00kgK0000000008QAA:1","source":"provisioning/webhook","type":"com.tiergate.provisioning.line.reported.v1","subject":"ord_01a221c3420975878ca799f208015698","time":"2026-11-28T10:46:23.233172Z","specversion":"1.0","data":{"line":"00kgK0000000008QAA","succeeded":"true","reason":""}}' AS BLOB));
INSERT INTO events VALUES (15, 'provisioning/webhook', 'ord_01a221c3420975878ca799f208015698:00kgK0000000009QAA:1', 'com.tiergate.provisioning.line.reported.v1', 'ord_01a221c3420975878ca799f208015698', 'cor_01a221c34204762ca1ccec50e7684a13', CAST('{"id":"ord_01a221c3420975878ca799f208015698:00kgK0000000009QAA:1","source":"provisioning/webhook","type":"com.tiergate.provisioning.line.reported.v1","subject":"ord_01a221c3420975878ca799f208015698","time":"2026-11-28T10:46:23.242323Z","specversion":"1.0","data":{"line":"00kgK0000000009QAA","succeeded":"true","reason":""}}' AS BLOB));
INSERT INTO events VALUES (16, 'provisioning/webhook', 'ord_01a221c346af7be59c3564e13024210d:00kgK000000000AQAQ:1', 'com.tiergate.provisioning.line.reported.v1', 'ord_01a221c346af7be59c3564e13024210d', 'cor_01a221c346a87c3ebd8965eb6271bbcf', CAST('{"id":"ord_01a221c346af7be59c3564e13024210d:00kgK000000000AQAQ:1","source":"provisioning/webhook","type":"com.tiergate.provisioning.line.reported.v1","subject":"ord_01a221c346af7be59c3564e13024210d","time":"2026-11-28T10:46:24.212314Z","specversion":"1.0","data":{"line":"00kgK000000000AQAQ","succeeded":"true","reason":""}}' AS BLOB));
INSERT INTO events VALUES (17, 'provisioning/webhook', 'ord_01a221c346af7be59c3564e13024210d:00kgK000000000BQAQ:1', 'com.tiergate.provisioning.line.reported.v1', 'ord_01a221c346af7be59c3564e13024210d', 'cor_01a221c346a87c3ebd8965eb6271bbcf', CAST('{"id":"ord_01a221c346af7be59c3564e13024210d:00kgK000000000BQAQ:1","source":"provisioning/webhook","type":"com.tiergate.provisioning.line.reported.v1","subject":"ord_01a221c346af7be59c3564e13024210d","time":"2026-11-28T10:46:24.229308Z","specversion":"1.0","data":{"line":"00kgK000000000BQAQ","succeeded":"true","reason":""}}' AS BLOB));
INSERT INTO events VALUES (18, 'provisioning/webhook', 'ord_01a221c346af7be59c3564e13024210d:00kgK000000000CQAQ:1', 'com.tiergate.provisioning.line.reported.v1', 'ord_01a221c346af7be59c3564e13024210d', 'cor_01a221c346a87c3ebd8965eb6271bbcf', CAST('{"id":"ord_01a221c346af7be59c3564e13024210d:00kgK000000000CQAQ:1","source":"provisioning/webhook","type":"com.tiergate.provisioning.line.reported.v1","subject":"ord_01a221c346af7be59c3564e13024210d","time":"2026-11-28T10:46:24.237252Z","specversion":"1.0","data":{"line":"00kgK000000000CQAQ","succeeded":"true","reason":""}}' AS BLOB));
INSERT INTO events VALUES (19, 'billing/stripe', 'evt_3326bc11823c09b0', 'com.tiergate.billing.invoice.finalized.v1', 'in_2a7d425910c0bf7c', 'cor_01a221c346a87c3ebd8965eb6271bbcf', CAST('{"id":"evt_3326bc11823c09b0","source":"billing/stripe","type":"com.tiergate.billing.invoice.finalized.v1","subject":"in_2a7d425910c0bf7c","time":"2026-11-28T10:46:24Z","specversion":"1.0","data":{"contract":"con_01a221c3471c71d284473a1dda636101","customer":"cus_01a221c3471a7786bf71b2bb372407b6","legal_entity":"DE01"}}' AS BLOB));
INSERT INTO events VALUES (20, 'billing/stripe', 'evt_3ac2d6b7cbd9f075', 'com.tiergate.billing.invoice.paid.v1', 'in_2a7d425910c0bf7c', 'cor_01a221c346a87c3ebd8965eb6271bbcf', CAST('{"id":"evt_3ac2d6b7cbd9f075","source":"billing/stripe","type":"com.tiergate.billing.invoice.paid.v1","subject":"in_2a7d425910c0bf7c","time":"2026-11-28T10:46:24Z","specversion":"1.0","data":{"contract":"con_01a221c3471c71d284473a1dda636101","customer":"cus_01a221c3471a7786bf71b2bb372407b6","legal_entity":"DE01"}}' AS BLOB));
INSERT INTO events VALUES (21, 'crm/salesforce', '006gK0000000007QAA:1', 'com.tiergate.crm.deal.closed.v1', '006gK0000000007QAA', 'cor_01a221c36b0e7f5197144b02099f8838', CAST('{"id":"006gK0000000007QAA:1","source":"crm/salesforce","type":"com.tiergate.crm.deal.closed.v1","subject":"006gK0000000007QAA","time":"2026-11-28T10:46:24.701000Z","specversion":"1.0","data":{"revision":"1"}}' AS BLOB));
INSERT INTO executors VALUES ('recorder-8822-c6e9c194', 1.7958627846721270084e+09);
INSERT INTO dbos_migrations VALUES (125);
INSERT INTO workflow_status VALUES ('order:006gK0000000001QAA:1', 'SUCCESS', 'QuoteToCash.run', NULL, NULL, NULL, NULL, NULL, NULL, 'recorder-8822-c6e9c194', 1795862762000, 1795862763000, '1', '', 'QuoteToCash', 'quote_to_cash', 1, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, 'py_pickle', NULL, 0, 0, 1795862763000, 'null', NULL, NULL, 0, 'tiergate-process', '4878de80-a84f-4611-9432-f16e1519141c');
INSERT INTO workflow_status VALUES ('activation:ord_01a221c31348793cb44ffa298905f20c:1:1', 'SUCCESS', 'Activation.run', NULL, NULL, NULL, NULL, NULL, NULL, 'recorder-8822-c6e9c194', 1795862764000, 1795862764000, '1', '', 'Activation', 'activation', 1, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, 'py_pickle', NULL, 0, 0, 1795862764000, 'null', NULL, NULL, 0, 'tiergate-process', '42423718-6f31-41b8-b27b-91a686cb9d06');
INSERT INTO workflow_status VALUES ('invoice:in_d001c6e6065d8284:1', 'SUCCESS', 'Invoicing.run', NULL, NULL, NULL, NULL, NULL, NULL, 'recorder-8822-c6e9c194', 1795862764000, 1795862767000, '1', '', 'Invoicing', 'invoicing', 1, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, 'py_pickle', NULL, 0, 0, 1795862767000, 'null', NULL, NULL, 0, 'tiergate-process', '18a41926-164e-4465-bac7-06e1f7e18b0c');
INSERT INTO workflow_status VALUES ('customer:cus_01a221c315ad799c90c68bb05540ae5e:1', 'SUCCESS', 'CustomerChanges.run', NULL, NULL, NULL, NULL, NULL, NULL, 'recorder-8822-c6e9c194', 1795862767000, 1795862772000, '1', '', 'CustomerChanges', 'customer_changes', 1, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, 'py_pickle', NULL, 0, 0, 1795862772000, 'null', NULL, NULL, 0, 'tiergate-process', 'e18a8860-feac-426d-a268-da93dbe5effc');
INSERT INTO workflow_status VALUES ('order:006gK0000000002QAA:1', 'SUCCESS', 'QuoteToCash.run', NULL, NULL, NULL, NULL, NULL, NULL, 'recorder-8822-c6e9c194', 1795862773000, 1795862773000, '1', '', 'QuoteToCash', 'quote_to_cash', 1, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, 'py_pickle', NULL, 0, 0, 1795862773000, 'null', NULL, NULL, 0, 'tiergate-process', 'b90a2cdf-9dd7-4f94-8ca0-3cdebe38f55f');
INSERT INTO workflow_status VALUES ('order:006gK0000000003QAA:1', 'SUCCESS', 'QuoteToCash.run', NULL, NULL, NULL, NULL, NULL, NULL, 'recorder-8822-c6e9c194', 1795862774000, 1795862775000, '1', '', 'QuoteToCash', 'quote_to_cash', 1, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, 'py_pickle', NULL, 0, 0, 1795862775000, 'null', NULL, NULL, 0, 'tiergate-process', 'd794f1b9-4bf0-4351-87cb-6d751913eb00');
INSERT INTO workflow_status VALUES ('order:006gK0000000004QAA:1', 'SUCCESS', 'QuoteToCash.run', NULL, NULL, NULL, NULL, NULL, NULL, 'recorder-8822-c6e9c194', 1795862775000, 1795862776000, '1', '', 'QuoteToCash', 'quote_to_cash', 1, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, 'py_pickle', NULL, 0, 0, 1795862776000, 'null', NULL, NULL, 0, 'tiergate-process', 'dbd8d2e1-7dba-4f7f-ad8c-edb97bd8fe29');
INSERT INTO workflow_status VALUES ('order:006gK0000000005QAA:1', 'SUCCESS', 'QuoteToCash.run', NULL, NULL, NULL, NULL, NULL, NULL, 'recorder-8822-c6e9c194', 1795862777000, 1795862777000, '1', '', 'QuoteToCash', 'quote_to_cash', 1, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, 'py_pickle', NULL, 0, 0, 1795862777000, 'null', NULL, NULL, 0, 'tiergate-process', '698d4328-d764-47a3-88e3-e508f560d871');
INSERT INTO workflow_status VALUES ('order:006gK0000000006QAA:1', 'PENDING', 'QuoteToCash.run', NULL, NULL, NULL, NULL, NULL, NULL, 'recorder-8822-c6e9c194', 1795862778000, 1795862778000, '1', '', 'QuoteToCash', 'quote_to_cash', 1, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, '6e9250df-9296-4140-bda0-32110b33ad18', NULL, 'py_pickle', NULL, 0, 0, NULL, 'null', NULL, NULL, 0, 'tiergate-process', '6e9250df-9296-4140-bda0-32110b33ad18');
INSERT INTO workflow_status VALUES ('activation:ord_01a221c3420975878ca799f208015698:1:1', 'PENDING', 'Activation.run', NULL, NULL, NULL, NULL, NULL, NULL, 'recorder-8822-c6e9c194', 1795862783000, 1795862783000, '1', '', 'Activation', 'activation', 1, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, 'f14ce2d3-9340-45b2-8212-049548530028', NULL, 'py_pickle', NULL, 0, 0, NULL, 'null', NULL, NULL, 0, 'tiergate-process', 'f14ce2d3-9340-45b2-8212-049548530028');
INSERT INTO workflow_status VALUES ('activation:ord_01a221c346af7be59c3564e13024210d:1:1', 'SUCCESS', 'Activation.run', NULL, NULL, NULL, NULL, NULL, NULL, 'recorder-8822-c6e9c194', 1795862784000, 1795862784000, '1', '', 'Activation', 'activation', 1, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, 'py_pickle', NULL, 0, 0, 1795862784000, 'null', NULL, NULL, 0, 'tiergate-process', '53c8b10a-44f1-4f26-be63-78fa44c157b8');
INSERT INTO workflow_status VALUES ('invoice:in_2a7d425910c0bf7c:1', 'PENDING', 'Invoicing.run', NULL, NULL, NULL, NULL, NULL, NULL, 'recorder-8822-c6e9c194', 1795862784000, 1795862784000, '1', '', 'Invoicing', 'invoicing', 1, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, 'a15e43c7-0318-42e7-83d3-76364f4aad76', NULL, 'py_pickle', NULL, 0, 0, NULL, 'null', NULL, NULL, 0, 'tiergate-process', 'a15e43c7-0318-42e7-83d3-76364f4aad76');
INSERT INTO workflow_status VALUES ('order:006gK0000000007QAA:1', 'PENDING', 'QuoteToCash.run', NULL, NULL, NULL, NULL, NULL, NULL, 'recorder-8822-c6e9c194', 1795862784000, 1795862784000, '1', '', 'QuoteToCash', 'quote_to_cash', 1, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, 'e416f1dd-76d5-4f14-b46d-91fa68a61656', NULL, 'py_pickle', NULL, 0, 0, NULL, 'null', NULL, NULL, 0, 'tiergate-process', 'e416f1dd-76d5-4f14-b46d-91fa68a61656');
INSERT INTO application_versions VALUES ('9febfc61-4dcd-4f3f-8669-95da9cdafb8d', '1', 1795862737000, 1795862737000, 'tiergate-process');
INSERT INTO workflow_input VALUES ('order:006gK0000000001QAA:1', 'gASVQAAAAAAAAAB9lCiMBGFyZ3OUjCRvcmRfMDFhMjIxYzMxMzQ4NzkzY2I0NGZmYTI5ODkwNWYyMGOUhZSMBmt3YXJnc5R9lHUu', 1795862762000);
INSERT INTO workflow_input VALUES ('activation:ord_01a221c31348793cb44ffa298905f20c:1:1', 'gASVQAAAAAAAAAB9lCiMBGFyZ3OUjCRvcmRfMDFhMjIxYzMxMzQ4NzkzY2I0NGZmYTI5ODkwNWYyMGOUhZSMBmt3YXJnc5R9lHUu', 1795862764000);
INSERT INTO workflow_input VALUES ('invoice:in_d001c6e6065d8284:1', 'gASVLwAAAAAAAAB9lCiMBGFyZ3OUjBNpbl9kMDAxYzZlNjA2NWQ4Mjg0lIWUjAZrd2FyZ3OUfZR1Lg==', 1795862764000);
INSERT INTO workflow_input VALUES ('customer:cus_01a221c315ad799c90c68bb05540ae5e:1', 'gASVQAAAAAAAAAB9lCiMBGFyZ3OUjCRjdXNfMDFhMjIxYzMxNWFkNzk5YzkwYzY4YmIwNTU0MGFlNWWUhZSMBmt3YXJnc5R9lHUu', 1795862767000);
INSERT INTO workflow_input VALUES ('order:006gK0000000002QAA:1', 'gASVQAAAAAAAAAB9lCiMBGFyZ3OUjCRvcmRfMDFhMjIxYzMzZWQ5NzU1OGIwMDRmZjNhYzc2M2RhYTSUhZSMBmt3YXJnc5R9lHUu', 1795862773000);
INSERT INTO workflow_input VALUES ('order:006gK0000000003QAA:1', 'gASVQAAAAAAAAAB9lCiMBGFyZ3OUjCRvcmRfMDFhMjIxYzM0MjA5NzU4NzhjYTc5OWYyMDgwMTU2OTiUhZSMBmt3YXJnc5R9lHUu', 1795862774000);
INSERT INTO workflow_input VALUES ('order:006gK0000000004QAA:1', 'gASVQAAAAAAAAAB9lCiMBGFyZ3OUjCRvcmRfMDFhMjIxYzM0NmFmN2JlNTljMzU2NGUxMzAyNDIxMGSUhZSMBmt3YXJnc5R9lHUu', 1795862775000);
INSERT INTO workflow_input VALUES ('order:006gK0000000005QAA:1', 'gASVQAAAAAAAAAB9lCiMBGFyZ3OUjCRvcmRfMDFhMjIxYzM0ZDQ4NzkxZDg2NDc4YmM0ZGI4ZmY0OGOUhZSMBmt3YXJnc5R9lHUu', 1795862777000);
INSERT INTO workflow_input VALUES ('order:006gK0000000006QAA:1', 'gASVQAAAAAAAAAB9lCiMBGFyZ3OUjCRvcmRfMDFhMjIxYzM1MjAwNzc2ZWFjZTA4YzY5Mjk2MjY1ZDOUhZSMBmt3YXJnc5R9lHUu', 1795862778000);
INSERT INTO workflow_input VALUES ('activation:ord_01a221c3420975878ca799f208015698:1:1', 'gASVQAAAAAAAAAB9lCiMBGFyZ3OUjCRvcmRfMDFhMjIxYzM0MjA5NzU4NzhjYTc5OWYyMDgwMTU2OTiUhZSMBmt3YXJnc5R9lHUu', 1795862783000);
INSERT INTO workflow_input VALUES ('activation:ord_01a221c346af7be59c3564e13024210d:1:1', 'gASVQAAAAAAAAAB9lCiMBGFyZ3OUjCRvcmRfMDFhMjIxYzM0NmFmN2JlNTljMzU2NGUxMzAyNDIxMGSUhZSMBmt3YXJnc5R9lHUu', 1795862784000);
INSERT INTO workflow_input VALUES ('invoice:in_2a7d425910c0bf7c:1', 'gASVLwAAAAAAAAB9lCiMBGFyZ3OUjBNpbl8yYTdkNDI1OTEwYzBiZjdjlIWUjAZrd2FyZ3OUfZR1Lg==', 1795862784000);
INSERT INTO workflow_input VALUES ('order:006gK0000000007QAA:1', 'gASVQAAAAAAAAAB9lCiMBGFyZ3OUjCRvcmRfMDFhMjIxYzM2YjExN2FlOWExYzhkZGQ1MjBmNjBlM2OUhZSMBmt3YXJnc5R9lHUu', 1795862784000);
INSERT INTO workflow_output VALUES ('order:006gK0000000001QAA:1', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, 1795862763000);
INSERT INTO workflow_output VALUES ('activation:ord_01a221c31348793cb44ffa298905f20c:1:1', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, 1795862764000);
INSERT INTO workflow_output VALUES ('invoice:in_d001c6e6065d8284:1', 'gASVCwAAAAAAAACMB3N0b3BwZWSULg==', NULL, 1795862767000);
INSERT INTO workflow_output VALUES ('customer:cus_01a221c315ad799c90c68bb05540ae5e:1', 'gASVCwAAAAAAAACMB3N0b3BwZWSULg==', NULL, 1795862772000);
INSERT INTO workflow_output VALUES ('order:006gK0000000002QAA:1', 'gASVCwAAAAAAAACMB3N0b3BwZWSULg==', NULL, 1795862773000);
INSERT INTO workflow_output VALUES ('order:006gK0000000003QAA:1', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, 1795862775000);
INSERT INTO workflow_output VALUES ('order:006gK0000000004QAA:1', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, 1795862776000);
INSERT INTO workflow_output VALUES ('order:006gK0000000005QAA:1', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, 1795862777000);
INSERT INTO workflow_output VALUES ('activation:ord_01a221c346af7be59c3564e13024210d:1:1', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, 1795862784000);
INSERT INTO operation_outputs VALUES ('order:006gK0000000001QAA:1', 1, 'QuoteToCash.validate', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862762357, 1795862762962, 'py_pickle', 'tiergate-process', 1795862763000);
INSERT INTO operation_outputs VALUES ('order:006gK0000000001QAA:1', 2, 'QuoteToCash.review_credit', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862763012, 1795862763058, 'py_pickle', 'tiergate-process', 1795862763000);
INSERT INTO operation_outputs VALUES ('order:006gK0000000001QAA:1', 3, 'QuoteToCash.onboard', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862763072, 1795862763724, 'py_pickle', 'tiergate-process', 1795862763000);
INSERT INTO operation_outputs VALUES ('order:006gK0000000001QAA:1', 4, 'QuoteToCash.subscribe', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862763741, 1795862763857, 'py_pickle', 'tiergate-process', 1795862763000);
INSERT INTO operation_outputs VALUES ('order:006gK0000000001QAA:1', 5, 'QuoteToCash.provision', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862763871, 1795862763944, 'py_pickle', 'tiergate-process', 1795862763000);
INSERT INTO operation_outputs VALUES ('activation:ord_01a221c31348793cb44ffa298905f20c:1:1', 1, 'Activation.activate', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862764105, 1795862764267, 'py_pickle', 'tiergate-process', 1795862764000);
INSERT INTO operation_outputs VALUES ('invoice:in_d001c6e6065d8284:1', 1, 'Invoicing.post_invoice', 'gASVCwAAAAAAAACMB3N0b3BwZWSULg==', NULL, NULL, 1795862764289, 1795862767152, 'py_pickle', 'tiergate-process', 1795862767000);
INSERT INTO operation_outputs VALUES ('customer:cus_01a221c315ad799c90c68bb05540ae5e:1', 1, 'CustomerChanges.follow', 'gASVCwAAAAAAAACMB3N0b3BwZWSULg==', NULL, NULL, 1795862767344, 1795862772678, 'py_pickle', 'tiergate-process', 1795862772000);
INSERT INTO operation_outputs VALUES ('order:006gK0000000002QAA:1', 1, 'QuoteToCash.validate', 'gASVCwAAAAAAAACMB3N0b3BwZWSULg==', NULL, NULL, 1795862773481, 1795862773764, 'py_pickle', 'tiergate-process', 1795862773000);
INSERT INTO operation_outputs VALUES ('order:006gK0000000003QAA:1', 1, 'QuoteToCash.validate', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862774296, 1795862774447, 'py_pickle', 'tiergate-process', 1795862774000);
INSERT INTO operation_outputs VALUES ('order:006gK0000000003QAA:1', 2, 'QuoteToCash.review_credit', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862774450, 1795862774597, 'py_pickle', 'tiergate-process', 1795862774000);
INSERT INTO operation_outputs VALUES ('order:006gK0000000003QAA:1', 3, 'QuoteToCash.onboard', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862774611, 1795862775140, 'py_pickle', 'tiergate-process', 1795862775000);
INSERT INTO operation_outputs VALUES ('order:006gK0000000003QAA:1', 4, 'QuoteToCash.subscribe', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862775148, 1795862775162, 'py_pickle', 'tiergate-process', 1795862775000);
INSERT INTO operation_outputs VALUES ('order:006gK0000000003QAA:1', 5, 'QuoteToCash.provision', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862775170, 1795862775208, 'py_pickle', 'tiergate-process', 1795862775000);
INSERT INTO operation_outputs VALUES ('order:006gK0000000004QAA:1', 1, 'QuoteToCash.validate', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862775490, 1795862775588, 'py_pickle', 'tiergate-process', 1795862775000);
INSERT INTO operation_outputs VALUES ('order:006gK0000000004QAA:1', 2, 'QuoteToCash.review_credit', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862775600, 1795862775712, 'py_pickle', 'tiergate-process', 1795862775000);
INSERT INTO operation_outputs VALUES ('order:006gK0000000004QAA:1', 3, 'QuoteToCash.onboard', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862775721, 1795862776112, 'py_pickle', 'tiergate-process', 1795862776000);
INSERT INTO operation_outputs VALUES ('order:006gK0000000004QAA:1', 4, 'QuoteToCash.subscribe', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862776115, 1795862776160, 'py_pickle', 'tiergate-process', 1795862776000);
INSERT INTO operation_outputs VALUES ('order:006gK0000000004QAA:1', 5, 'QuoteToCash.provision', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862776168, 1795862776188, 'py_pickle', 'tiergate-process', 1795862776000);
INSERT INTO operation_outputs VALUES ('order:006gK0000000005QAA:1', 1, 'QuoteToCash.validate', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862777173, 1795862777351, 'py_pickle', 'tiergate-process', 1795862777000);
INSERT INTO operation_outputs VALUES ('order:006gK0000000005QAA:1', 2, 'QuoteToCash.review_credit', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862777375, 1795862777494, 'py_pickle', 'tiergate-process', 1795862777000);
INSERT INTO operation_outputs VALUES ('order:006gK0000000005QAA:1', 3, 'QuoteToCash.onboard', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862777504, 1795862777836, 'py_pickle', 'tiergate-process', 1795862777000);
INSERT INTO operation_outputs VALUES ('order:006gK0000000005QAA:1', 4, 'QuoteToCash.subscribe', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862777848, 1795862777863, 'py_pickle', 'tiergate-process', 1795862777000);
INSERT INTO operation_outputs VALUES ('order:006gK0000000005QAA:1', 5, 'QuoteToCash.provision', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862777877, 1795862777936, 'py_pickle', 'tiergate-process', 1795862777000);
INSERT INTO operation_outputs VALUES ('order:006gK0000000006QAA:1', 1, 'QuoteToCash.validate', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862778377, 1795862778484, 'py_pickle', 'tiergate-process', 1795862778000);
INSERT INTO operation_outputs VALUES ('order:006gK0000000006QAA:1', 2, 'QuoteToCash.review_credit', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862778500, 1795862778604, 'py_pickle', 'tiergate-process', 1795862778000);
INSERT INTO operation_outputs VALUES ('activation:ord_01a221c346af7be59c3564e13024210d:1:1', 1, 'Activation.activate', 'gASVCAAAAAAAAACMBGRvbmWULg==', NULL, NULL, 1795862784248, 1795862784393, 'py_pickle', 'tiergate-process', 1795862784000);
CREATE INDEX ix_references__canonical_id ON references_ (canonical_id);
CREATE INDEX ix_customers_look_at ON customers (look_at);
CREATE INDEX ix_customers_partner ON customers (partner);
CREATE INDEX ix_orders_look_at ON orders (look_at);
CREATE INDEX ix_orders_customer_id ON orders (customer_id);
CREATE INDEX ix_orders_partner ON orders (partner);
CREATE INDEX ix_order_states_order_id ON order_states (order_id);
CREATE INDEX ix_postings_customer_id ON postings (customer_id);
CREATE INDEX ix_postings_look_at ON postings (look_at);
CREATE INDEX ix_postings_invoice_id ON postings (invoice_id);
CREATE UNIQUE INDEX one_open_case ON cases (subject, kind, field) WHERE state = 'open';
CREATE INDEX ix_cases_customer_id ON cases (customer_id);
CREATE INDEX ix_cases_subject ON cases (subject);
CREATE INDEX workflow_status_created_at_index ON workflow_status (created_at);
CREATE INDEX idx_workflow_topic ON notifications (destination_uuid, topic);
CREATE INDEX "idx_workflow_status_delayed" ON "workflow_status" ("delay_until_epoch_ms") WHERE status = 'DELAYED';
CREATE INDEX "idx_workflow_status_forked_from" ON "workflow_status" ("forked_from") WHERE "forked_from" IS NOT NULL;
CREATE INDEX "idx_workflow_status_parent_workflow_id" ON "workflow_status" ("parent_workflow_id") WHERE "parent_workflow_id" IS NOT NULL;
CREATE UNIQUE INDEX "uq_workflow_status_dedup_id" ON "workflow_status" ("queue_name", "deduplication_id") WHERE "deduplication_id" IS NOT NULL;
CREATE INDEX "idx_workflow_status_pending" ON "workflow_status" ("created_at") WHERE "status" = 'PENDING';
CREATE INDEX "idx_workflow_status_failed" ON "workflow_status" ("status", "created_at") WHERE "status" IN ('ERROR', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED');
CREATE INDEX "idx_workflow_status_rate_limited" ON "workflow_status" ("queue_name", "started_at_epoch_ms") WHERE "rate_limited" = TRUE;
CREATE INDEX "idx_workflow_status_completed_at" ON "workflow_status" ("completed_at") WHERE "completed_at" IS NOT NULL;
CREATE INDEX "idx_workflow_status_started_at" ON "workflow_status" ("started_at_epoch_ms") WHERE "started_at_epoch_ms" IS NOT NULL;
CREATE INDEX "idx_workflow_status_schedule_name" ON "workflow_status" ("schedule_name") WHERE "schedule_name" IS NOT NULL;
CREATE UNIQUE INDEX "uq_application_versions_owner_version"
    ON application_versions ("application_name", "version_name")
    WHERE "application_name" IS NOT NULL;
CREATE UNIQUE INDEX "uq_application_versions_unclaimed_version"
    ON application_versions ("version_name")
    WHERE "application_name" IS NULL;
CREATE INDEX idx_workflow_input_retention
    ON workflow_input (retention_timestamp);
CREATE INDEX idx_workflow_output_retention
    ON workflow_output (retention_timestamp);
CREATE INDEX idx_operation_outputs_retention
    ON operation_outputs (retention_timestamp);
CREATE INDEX "idx_workflow_status_in_flight_v2" ON "workflow_status" ("queue_name", "status", "priority", "created_at", "application_name") WHERE "status" IN ('ENQUEUED', 'PENDING');
CREATE INDEX "idx_workflow_status_partition_dequeue_v3" ON "workflow_status" ("queue_name", "status", "queue_partition_key", "priority", "created_at", "workflow_uuid", "application_name") WHERE "status" IN ('ENQUEUED', 'PENDING') AND "queue_partition_key" IS NOT NULL;
CREATE INDEX "idx_operation_outputs_completed_at_function_name_v2" ON "operation_outputs" ("completed_at_epoch_ms", "function_name", "application_name");
CREATE INDEX "idx_workflow_status_deadline" ON "workflow_status" ("workflow_deadline_epoch_ms") WHERE "status" IN ('ENQUEUED', 'PENDING', 'DELAYED') AND "workflow_deadline_epoch_ms" IS NOT NULL;
CREATE INDEX "idx_application_versions_timestamp" ON "application_versions" ("version_timestamp" DESC);
CREATE INDEX "idx_application_versions_owner_timestamp" ON "application_versions" ("application_name", "version_timestamp" DESC);
