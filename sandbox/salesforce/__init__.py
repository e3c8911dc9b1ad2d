"""A stand-in for Salesforce's REST API (REST API Developer Guide, v66.0): what the connector and a sales client use."""
