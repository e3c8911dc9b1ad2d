"""Pages for the people who build on the APIs: reference with try-it, versions, events, problems, tokens. No other host
is asked for anything."""
