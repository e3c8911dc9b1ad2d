# Makes the database that all layers share, with a user that sees nothing of the process layer's. Read by the image at its
# first start.
psql --set ON_ERROR_STOP=1 --set password="$(cat /run/secrets/shared_password)" --username tiergate --dbname tiergate <<'END'
CREATE ROLE tiergate_shared LOGIN PASSWORD :'password';
CREATE DATABASE tiergate_shared OWNER tiergate_shared;
END
