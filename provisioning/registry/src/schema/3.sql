-- Privacy tokens: master keys, encrypted; how often each table was asked about, without a time; three tables for a device.
CREATE TABLE token_tables (
    table_id BIG_INT PRIMARY KEY,
    wrapped BYTE_S NOT NULL
);
CREATE TABLE token_usage (
    table_id BIG_INT PRIMARY KEY,
    asked BIG_INT NOT NULL
);
CREATE TABLE token_assignments (
    hardware_hash BYTE_S PRIMARY KEY,
    table_1 BIG_INT NOT NULL,
    table_2 BIG_INT NOT NULL,
    table_3 BIG_INT NOT NULL
);
