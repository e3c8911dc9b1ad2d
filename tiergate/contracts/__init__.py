"""The contracts of every API and of the events: made from the routes and types themselves, judged, compared with what
was released."""
