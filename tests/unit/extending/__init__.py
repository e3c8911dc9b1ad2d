"""How much has to be touched to add something: what the guides promise."""
