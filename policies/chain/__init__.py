"""The order of the policies, and the app that they govern."""
