-- A key has one purpose, and one that came into other hands has none any more.
ALTER TABLE device_keys ADD COLUMN profile TEXT;
ALTER TABLE device_keys ADD COLUMN compromised_at BIG_INT;
UPDATE device_keys SET profile = first.profile FROM
    (SELECT key_hash, profile, row_number() OVER (PARTITION BY key_hash ORDER BY reserved_at, serial) AS number
     FROM certificates) AS first
    WHERE first.key_hash = device_keys.key_hash AND first.number = 1;
UPDATE device_keys SET compromised_at = lost.at FROM
    (SELECT key_hash, min(revoked_at) AS at FROM certificates
     WHERE state = 'revoked' AND reason IN ('key-compromise', 'ca-compromise') GROUP BY key_hash) AS lost
    WHERE lost.key_hash = device_keys.key_hash;

-- What is revoked though nothing here says that it was issued, as after a copy was put back.
CREATE TABLE unrecorded (
    issuer BYTE_S NOT NULL,
    serial BYTE_S NOT NULL,
    revoked_at BIG_INT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (issuer, serial)
);

-- One row when the audit log was seen to have more entries than the registry knows of.
CREATE TABLE behind (
    log BIG_INT NOT NULL
);
