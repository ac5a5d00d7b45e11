-- Where a type differs, it is written as a word in capitals with an underscore; see schema.rs.
CREATE TABLE orders (
    id TEXT PRIMARY KEY,
    manufacturer TEXT,
    quota BIG_INT NOT NULL,
    used BIG_INT NOT NULL DEFAULT 0
);

CREATE TABLE devices (
    device TEXT PRIMARY KEY,
    hardware_hash BYTE_S,
    device_type TEXT NOT NULL,
    family TEXT NOT NULL,
    revision TEXT NOT NULL,
    firmware TEXT NOT NULL,
    state TEXT NOT NULL,
    order_id TEXT REFERENCES orders (id),
    counted_at BIG_INT,
    recorded_at BIG_INT NOT NULL
);
CREATE UNIQUE INDEX devices_hardware ON devices (hardware_hash) WHERE hardware_hash IS NOT NULL;
CREATE INDEX devices_family ON devices (family, device);

-- A key belongs to one device, for ever.
CREATE TABLE device_keys (
    key_hash BYTE_S PRIMARY KEY,
    device TEXT NOT NULL
);

CREATE TABLE certificates (
    serial BYTE_S PRIMARY KEY,
    device TEXT NOT NULL,
    profile TEXT NOT NULL,
    issuer BYTE_S NOT NULL,
    key_hash BYTE_S NOT NULL,
    not_before BIG_INT NOT NULL,
    not_after BIG_INT NOT NULL,
    state TEXT NOT NULL,
    owner BIG_INT NOT NULL,
    renews BYTE_S,
    request_key TEXT,
    request_digest BYTE_S,
    reserved_at BIG_INT NOT NULL,
    committed_at BIG_INT,
    revoked_at BIG_INT,
    reason TEXT,
    der BYTE_S
);
CREATE UNIQUE INDEX certificates_request ON certificates (request_key) WHERE request_key IS NOT NULL;
-- One place for each device and profile: one certificate in it, and one on its way there.
CREATE UNIQUE INDEX certificates_reserved ON certificates (device, profile) WHERE state = 'reserved';
CREATE UNIQUE INDEX certificates_issued ON certificates (device, profile) WHERE state = 'issued';
CREATE INDEX certificates_device ON certificates (device);
CREATE INDEX certificates_time ON certificates (reserved_at);
CREATE INDEX certificates_expiry ON certificates (not_after) WHERE state = 'issued';
CREATE INDEX certificates_revoked ON certificates (issuer) WHERE state = 'revoked';

-- Leaves of the audit log, written with what they tell of. Their place in the log is given by one leader.
CREATE TABLE audit (
    id IDENTITY_KEY,
    leaf BYTE_S NOT NULL,
    place BIG_INT
);
CREATE UNIQUE INDEX audit_place ON audit (place) WHERE place IS NOT NULL;
CREATE INDEX audit_waiting ON audit (id) WHERE place IS NULL;

CREATE TABLE lists (
    issuer BYTE_S PRIMARY KEY,
    number BIG_INT NOT NULL,
    signed_number BIG_INT,
    der BYTE_S,
    next_update BIG_INT
);
