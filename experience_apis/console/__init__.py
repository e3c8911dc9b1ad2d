"""The console: pages for the people of each team, over the channels."""
