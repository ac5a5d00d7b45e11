# Signs what is installed on the machine. $1 is the folder of the guests; here is the desk.
umask 022
printf 'a passphrase for authorities\n' > passphrase
countersign-ca init --org Acme --name 'Acme Root 2026' --country DE --passphrase-file passphrase
countersign-ca intermediate --name 'Acme Devices 1' --scope 'acme:*' --passphrase-file passphrase
for who in press-4 press-5 releases; do
    countersign key generate $who.key --unencrypted
    countersign key csr $who.key --device-id $who --output $who.csr
done
for who in press-4 press-5; do
    countersign-ca issue --profile component-signer --csr $who.csr --out $who.chain.pem --passphrase-file passphrase
done
countersign-ca issue --profile bundle --csr releases.csr --out releases.chain.pem --passphrase-file passphrase
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
printf 'name = "acme:greeter"\nversion = "1.0.0"\nsecurity-version = 1\n[grants]\nargs = true\nstdio = ["stdout"]\n' > greeter.toml
sign() { countersign sign "$1" --manifest "$2.toml" --key "$3.key" --chain "$3.chain.pem" --output "$4"; }
sign "$1/telemetry.wasm" telemetry press-4 telemetry-1.wasm
sign "$1/hello-http.wasm" meter press-5 meter-1.wasm
sed -i 's/1.0.0/2.0.0/' telemetry.toml
sign "$1/telemetry.wasm" telemetry press-4 telemetry-2.wasm
cp "$1/hello.wasm" unsigned.wasm

# What comes on sticks: an update, one that traps, and, when press-4 is revoked, the first once more and one without it.
mkdir one two three
sign "$1/telemetry.wasm" telemetry press-4 one/telemetry.wasm
sign "$1/hello.wasm" greeter press-5 one/greeter.wasm
sign "$1/hello-http.wasm" meter press-5 one/meter.wasm
sed -i 's/1.0.0/2.0.0/; s/security-version = 1/security-version = 2/' greeter.toml
sign "$1/trap.wasm" greeter press-5 two/greeter.wasm
sign "$1/telemetry.wasm" telemetry press-5 three/telemetry.wasm
bundle() {
    countersign bundle create --line plant --until 2040-01-01T00:00:00Z --key releases.key --chain releases.chain.pem \
        --output "$1.bundle" --number "$2" --list "$3" --component "$4" --component "$5" --component one/meter.wasm
}
bundle stick-1 1 lists.pem one/telemetry.wasm one/greeter.wasm
bundle stick-2 2 lists.pem one/telemetry.wasm two/greeter.wasm
countersign-ca revoke "$(openssl x509 -in press-4.chain.pem -noout -serial | cut -d= -f2)" --reason key-compromise
countersign-ca crl --out lists-2.pem --passphrase-file passphrase
bundle stick-3 2 lists-2.pem one/telemetry.wasm one/greeter.wasm
bundle stick-4 2 lists-2.pem three/telemetry.wasm one/greeter.wasm
