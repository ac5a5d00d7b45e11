# What must hold on a machine with the package. Each `holds` is one thing: a sentence, and commands that end with status 0.
# It is called at each start of the machine, and goes on behind the cut.
export PATH="/goods/bin:$PATH" SYSTEMD_COLORS=0 PAGER=cat LC_ALL=C.UTF-8
unit=countersign-gateway.service
etc=/etc/countersign
place=/var/lib/walk

holds() {
    (set -e; eval "$2") > /tmp/said 2>&1 < /dev/null
    # Not as the condition itself: a shell heeds no failure in there but the last.
    if test $? = 0; then
        echo "ok - $1"
    else
        echo "not ok - $1"
        sed 's/^/    | /' /tmp/said
    fi
}
show() { echo "# $1"; (eval "$1") 2>&1 < /dev/null | sed 's/^/    | /'; }
# Tries for as many seconds as are given.
within() {
    seconds="$1"; shift
    until (eval "$*"); do
        seconds=$((seconds - 1))
        test "$seconds" -gt 0 || return 1
        sleep 1
    done
}
gateway() { runuser -u countersign -- "$@"; }
pid() { systemctl show --property MainPID --value "$unit"; }
said() { journalctl --unit "$unit" --output cat --no-pager; }
service() { countersign-gateway status --json | jq -e ".services[] | select(.name == \"$1\") | $2"; }
answers() { curl --silent --show-error --fail --max-time 5 --cacert "$etc/root.pem" https://localhost:8443/; }
runs() { within 60 'service telemetry ".state == \"ended\" or .state == \"running\" or .state == \"waiting\"" && answers'; }

first() {
    show 'systemctl --version | head -1; uname -r; ls -l /dev/tpm*'
    holds 'the package is installed' 'dpkg --install /goods/gateway-1.deb'
    holds 'nothing is left unconfigured' 'test -z "$(dpkg --audit)"'
    holds 'it starts nothing' '! systemctl is-active $unit && ! systemctl is-enabled $unit'
    holds 'its user has the groups of key hardware' 'id -nG countersign | grep -w tss && id -nG countersign | grep -w i2c'
    holds 'what it remembers is its own' 'test "$(stat -c %a:%U:%G /var/lib/countersign)" = 700:countersign:countersign'
    holds 'what it is told is root'"'"'s' 'test "$(stat -c %a:%U $etc/gateway.toml)" = 644:root'
    holds 'there is a page about each verb' 'for verb in "" -run -init -apply -doctor; do man countersign-gateway$verb | grep -q SYNOPSIS; done'
    holds 'bash completes its verbs' 'bash -c ". /usr/share/bash-completion/bash_completion; _completion_loader countersign-gateway; complete -p countersign-gateway"'
    holds 'the TPM is the group'"'"'s' 'test "$(stat -c %G /dev/tpmrm0)" = tss'

    holds 'it has a memory, bound to a counter of the TPM' 'gateway countersign-gateway init --counter tpm:0x01800100'
    holds 'the first configuration is refused with what to do' 'countersign-gateway check > /tmp/check 2>&1 && exit 1; cat /tmp/check; grep "no \[\[service\]\]" /tmp/check'
    mkdir -p /tmp/desk && cp -r /goods/desk/. /tmp/desk && cd /tmp/desk || exit 1
    issue() { countersign-ca issue "$@" --passphrase-file passphrase; }
    holds 'the key for statements about the machine is made in the TPM' 'gateway /goods/bin/countersign key generate tpm:state --attestation
        tpm2_readpublic -Q -T device:/dev/tpmrm0 -c 0x81020000 -o state.pub
        issue --profile attestation --hardware tpm --tpm-public-area state.pub --device-id gateway-7 --out state.chain.pem'
    for key in telemetry web; do
        holds "the key $key is made in the TPM" "gateway /goods/bin/countersign key generate tpm:$key && gateway /goods/bin/countersign key csr tpm:$key --device-id gateway-7 > /tmp/desk/$key.csr"
    done
    holds 'they have certificates' 'issue --profile guest-data --csr telemetry.csr --out telemetry.chain.pem && issue --profile tls --dns localhost --csr web.csr --out web.chain.pem'
    install -m 644 lists.pem state.chain.pem telemetry.chain.pem web.chain.pem "$etc"
    install -m 644 ca/authorities/root/certificate.pem "$etc/root.pem"
    install -m 644 telemetry-1.wasm "$etc/telemetry.wasm"
    install -m 644 meter-1.wasm "$etc/meter.wasm"
    cat > "$etc/gateway.toml" <<'END'
[gateway]
state = "/var/lib/countersign"
counter = "tpm:0x01800100"
lists = ["lists.pem"]

[status]
listen = "127.0.0.1:9464"

[bundles]
line = "plant"
anchors = "root.pem"

[[key]]
name = "state"
purpose = "attestation"
uri = "tpm:state"
chain = "state.chain.pem"
registers = [0, 7]

[[key]]
name = "telemetry"
uri = "tpm:telemetry"
chain = "telemetry.chain.pem"

[[key]]
name = "web"
purpose = "tls"
uri = "tpm:web"
chain = "web.chain.pem"

[[service]]
name = "telemetry"
component = "telemetry.wasm"
signed-as = "acme:telemetry"
restart = { when = "on-failure" }
[service.grants]
args = ["21.5 C"]
keys = [{ name = "telemetry" }]

[[http]]
name = "meter"
component = "meter.wasm"
signed-as = "acme:meter"
listen = "127.0.0.1:8443"
tls = { key = "web" }
healthy-after = "1s"
END
    show 'gateway countersign-gateway doctor'
    holds 'the doctor refuses nothing' 'gateway countersign-gateway doctor'
    holds 'it starts, and says when it is ready' 'systemctl enable --now $unit && systemctl is-active $unit'
    holds 'both components run' 'runs'
    holds 'the TPM signed for a component' 'within 20 "countersign-gateway logs --service telemetry | grep d284"'
    show 'countersign-gateway status'
    show 'gateway countersign-gateway doctor'
    holds 'the doctor refuses nothing of what runs' 'gateway countersign-gateway doctor'
    holds 'the status page answers' 'curl --silent --fail http://127.0.0.1:9464/readyz | grep ready'
    holds 'systemd shows what it does' 'systemctl show --property StatusText $unit | grep "2 services run"'

    walls
    reloads
    watched
    sticks

    holds 'it is told by the journal what is to be looked at' 'install -m 644 unsigned.wasm $etc/stranger.wasm
        printf "[[service]]\nname = \"stranger\"\ncomponent = \"stranger.wasm\"\nsigned-as = \"acme:stranger\"\n" >> $etc/gateway.toml
        systemctl reload $unit || :
        within 30 "journalctl --unit $unit --output cat --no-pager --priority warning..warning | grep stranger:.refused:.signature-missing"
        ! journalctl --unit $unit --output cat --no-pager --priority info..info | grep ^countersign-gateway:.stranger:.refused'
    holds 'whose component is refused does not disturb the others' 'service stranger ".state == \"refused\"" && answers'
    show 'journalctl --unit $unit --output short --no-pager --priority warning'

    echo "# power is cut"
    echo second > "$place"
    sync
    # What is not written by now is lost.
    service telemetry .starts > /var/lib/unwritten
    echo b > /proc/sysrq-trigger
    sleep 60
}

walls() {
    holds 'it is a user without capabilities, and gets none' 'grep -E "^(Uid:.*$(id -u countersign)|NoNewPrivs:.1|Seccomp:.2)" /proc/$(pid)/status | grep -c . | grep 3
        test "$(grep -cE "^Cap(Inh|Prm|Eff|Bnd|Amb):.0000000000000000" /proc/$(pid)/status)" = 5'
    holds 'systemd calls its exposure less than 2 of 10' 'systemd-analyze security --no-pager --threshold=20 $unit > /dev/null'
    show 'systemd-analyze security --no-pager $unit | tail -1'
    # A shell among the unit's processes has the devices that the unit has, root or not.
    beside='sh -c "echo \$\$ > /sys/fs/cgroup/system.slice/countersign-gateway.service/cgroup.procs; exec 3<> \$0"'
    holds 'of the devices it has the TPM' "$beside /dev/tpmrm0"
    holds 'others have more' 'sh -c "exec 3<> /dev/vda"'
    holds 'and none but it' "! $beside /dev/vda && ! $beside /dev/tpm0 && ! $beside /dev/mem"
    # The same file system as it has.
    inside='nsenter --target "$(pid)" --mount --'
    holds 'it can write what it remembers' "$inside runuser -u countersign -- touch /var/lib/countersign/x && rm /var/lib/countersign/x"
    holds 'root itself could write nothing else there' "! $inside touch /etc/x && ! $inside touch /usr/x && ! $inside touch /var/x && ! $inside touch /srv/x"
    holds 'there are no homes and no processes of others' "test -z \"\$($inside ls /root 2> /dev/null)\" && ! $inside runuser -u countersign -- ls /proc/1/fd"
    holds 'the kernel says how far it confined itself' 'countersign-gateway status --json | jq -e ".confinement | .calls == \"whole\" and .files != \"none\" and .root == false and .capabilities == false"'
}

reloads() {
    before="$(pid)"
    install -m 644 telemetry-2.wasm "$etc/.telemetry.wasm" && mv "$etc/.telemetry.wasm" "$etc/telemetry.wasm"
    holds 'a reload ends when it is done, with the new component in its place' 'systemctl reload $unit && countersign-gateway status | grep "acme:telemetry 2.0.0"'
    holds 'a reload starts no other process' 'test "$(pid)" = $before && systemctl is-active $unit'
    show 'said | tail -20 | cut -c 1-160'
    cp "$etc/gateway.toml" /tmp/right
    echo 'nonsense = 1' >> "$etc/gateway.toml"
    holds 'a reload that fails says so, and changes nothing' '! systemctl reload $unit && systemctl is-active $unit && answers'
    cp /tmp/right "$etc/gateway.toml"
    holds 'the next one is right again' 'systemctl reload $unit && systemctl is-active $unit'
    holds 'a hang-up reloads as well' 'systemctl kill --signal HUP --kill-whom main $unit; sleep 2; systemctl is-active $unit && test "$(pid)" = $before'
}

watched() {
    before="$(pid)"
    holds 'one that is stuck is started again' 'kill -STOP $before
        within 150 "test \$(pid) != $before && test \$(pid) != 0 && systemctl is-active --quiet $unit"
        test "$(systemctl show --property NRestarts --value $unit)" -ge 1'
    holds 'and its components run again' runs
    before="$(pid)"
    holds 'one that is killed is started again' 'kill -KILL $before
        within 60 "test \$(pid) != $before && test \$(pid) != 0 && systemctl is-active --quiet $unit" && runs'
}

# From files to bundles: what docs/gateway.md does from "An update from a stick" on, with what is installed.
sticks() {
    sed -i 's/^component = "/&bundle:/' "$etc/gateway.toml"
    cat >> "$etc/gateway.toml" <<'END'

[[service]]
name = "greeter"
component = "bundle:greeter.wasm"
signed-as = "acme:greeter"
restart = { when = "on-failure" }
[service.grants]
args = ["plant"]
END
    mkdir /tmp/stick
    apply() { countersign-gateway apply "$@" > /tmp/applied 2>&1; }
    refused() { service "$1" '.state == "refused"'; }
    receipt() { countersign receipt verify "/tmp/stick/gateway-7-$1.receipt" --roots roots.toml --crl lists.pem --device-id gateway-7 --bundle "stick-$1.bundle" $2; }
    holds 'what is to come on sticks is waited for, and what ran before runs meanwhile' 'systemctl reload $unit || :; within 30 refused greeter; if said | grep "lies outside"; then exit 1; fi; runs'
    holds 'an update comes on a stick' 'apply /goods/desk/stick-1.bundle --receipt /tmp/stick || { cat /tmp/applied; exit 1; }; cat /tmp/applied; grep "bundle plant 1: applied" /tmp/applied'
    holds 'two services and one for HTTP run from it' 'runs && within 30 "countersign-gateway logs --service greeter | grep plant" && countersign-gateway status | grep "acme:greeter 1.0.0"'
    holds 'the desk sees what runs there, by the TPM' 'receipt 1 --applied | grep "accepted: receipt 1 of gateway-7, by tpm-quote"'
    holds 'an update that fails takes itself back' '! apply /goods/desk/stick-2.bundle --receipt /tmp/stick || { cat /tmp/applied; exit 1; }; cat /tmp/applied; grep bundle-unhealthy /tmp/applied'
    holds 'the version before runs again' 'runs && countersign-gateway status | grep "acme:greeter 1.0.0" && countersign-gateway trust | grep "acme:greeter: no security version below 1"'
    holds 'the desk sees that, too' 'receipt 2 "" > /tmp/receipt; cat /tmp/receipt; grep "accepted: receipt 2 of gateway-7, by tpm-quote" /tmp/receipt; grep bundle-unhealthy /tmp/receipt'
    holds 'what a revoked device signed is refused with its bundle, and stopped' 'status=0; apply /goods/desk/stick-3.bundle || status=$?; cat /tmp/applied; test $status = 115; within 30 refused telemetry && countersign-gateway status | grep "code: revoked" && answers'
    holds 'signed by another device it runs again' 'apply /goods/desk/stick-4.bundle || { cat /tmp/applied; exit 1; }; runs && said | grep "acme:telemetry 2.0.0, signed by press-5, admitted"'
    show 'countersign-gateway status; countersign-gateway trust'
}

second() {
    cd /tmp || exit 1
    holds 'after power was cut it runs by itself' 'within 60 "systemctl is-active --quiet $unit" && runs'
    holds 'what it remembers is as new as the TPM'"'"'s counter' 'gateway countersign-gateway doctor | grep -i counter; countersign-gateway trust'
    holds 'power was cut indeed' 'test ! -s /var/lib/unwritten'

    before="$(pid)"
    remembers="$(countersign-gateway trust | grep 'acme:telemetry')"
    holds 'the next package takes its place while components run' 'dpkg --install /goods/gateway-2.deb'
    holds 'its program runs, and the old one does not' 'within 60 "systemctl is-active --quiet $unit"; test "$(pid)" != $before; ! ls -l /proc/$(pid)/exe | grep deleted'
    holds 'both components run on' runs
    holds 'what it was told is as the operator wrote it' 'grep acme:telemetry $etc/gateway.toml && test ! -e $etc/gateway.toml.dpkg-new'
    holds 'what it remembers is the same' 'test "$(countersign-gateway trust | grep acme:telemetry)" = "$remembers"'
    holds 'it still starts with the machine' 'systemctl is-enabled $unit'
    holds 'the package before can take its place again' 'dpkg --install /goods/gateway-1.deb && within 60 "systemctl is-active --quiet $unit" && runs'

    state="$(find /var/lib/countersign -maxdepth 1 | sort)"
    holds 'removed, nothing of it runs' 'dpkg --remove countersign-gateway && ! systemctl is-active $unit && ! pgrep -x countersign-gat && test ! -e /usr/bin/countersign-gateway'
    holds 'what it remembers and what it was told stay' 'test -s $etc/gateway.toml && test "$(find /var/lib/countersign -maxdepth 1 | grep -v -e sock | sort)" = "$(echo "$state" | grep -v -e sock)"'
    holds 'installed again, it goes on as before' 'dpkg --install /goods/gateway-2.deb && systemctl start $unit && runs'
    holds 'purged, it leaves what it remembers, and says so' 'dpkg --purge countersign-gateway > /tmp/purged 2>&1; cat /tmp/purged
        test ! -e $etc/gateway.toml && test -d /var/lib/countersign/ && grep /var/lib/countersign /tmp/purged
        test ! -e /etc/systemd/system/multi-user.target.wants/$unit'
    holds 'the machine misses nothing' 'test -z "$(dpkg --audit)" && systemctl daemon-reload && ! systemctl --failed --no-legend | grep countersign'
    echo "the end"
    sync
    systemctl --no-block poweroff
}

if test -e "$place"; then "$(cat "$place")"; else first; fi
