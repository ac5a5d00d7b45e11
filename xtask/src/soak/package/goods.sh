# Signs what is installed on the machine. $1 is the folder of the guests; here is the desk.
umask 022
printf 'a passphrase for authorities\n' > passphrase
countersign-ca init --org Acme --name 'Acme Root 2026' --country DE --passphrase-file passphrase
countersign-ca intermediate --name 'Acme Devices 1' --scope 'acme:*' --passphrase-file passphrase
countersign key generate press.key --unencrypted
countersign key csr press.key --device-id press-4 --output press.csr
countersign-ca issue --profile component-signer --csr press.csr --out press.chain.pem --passphrase-file passphrase
countersign-ca crl --out lists.pem --passphrase-file passphrase
printf '[[root]]\npem = "ca/authorities/root/certificate.pem"\npurpose = "components"\n' > roots.toml

cat > telemetry.toml <<'END'
name = "acme:telemetry"
version = "1.0.0"
security-version = 1
[grants]
args = true
stdio = ["stdout", "stderr"]
[grants.keys.telemetry]
contexts = ["reading/v1"]
per-minute = 60
END
printf 'name = "acme:meter"\nversion = "1.0.0"\nsecurity-version = 1\n[grants]\nhttp-incoming = true\n' > meter.toml
sign() { countersign sign "$1" --manifest "$2.toml" --key press.key --chain press.chain.pem --output "$3"; }
sign "$1/telemetry.wasm" telemetry telemetry-1.wasm
sign "$1/hello-http.wasm" meter meter-1.wasm
sed -i 's/1.0.0/2.0.0/' telemetry.toml
sign "$1/telemetry.wasm" telemetry telemetry-2.wasm
cp "$1/hello.wasm" unsigned.wasm
