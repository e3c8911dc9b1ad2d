"""One folder for each domain, one inside it for each platform: canonical in and out, nothing of a platform above."""
