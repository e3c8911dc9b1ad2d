"""What tests share: servers, a governed app, an environment of everything on loopback."""
