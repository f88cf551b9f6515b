# shellcheck shell=bash disable=SC2154,SC2034 # the variables of the selected server belong to scripts/servers
# Throwaway certificates; sourced by scripts/servers.

# make_certificates FOLDER: a CA, a certificate for a server on this machine, one for a client. LibreSSL, which macOS
# has, can do this too. Fails without openssl.
make_certificates() {
  local folder="$1" who
  [[ ! -f "$folder/client.pem" ]] || return 0
  command -v openssl >/dev/null || return 1
  mkdir -p "$folder"
  (
    cd "$folder" || exit
    cat >ext.cnf <<'END'
[req]
distinguished_name = dn
[dn]
[ca]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
[client]
basicConstraints = CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
END
    for who in ca server client; do openssl ecparam -name prime256v1 -genkey -noout -out "$who.key"; done
    openssl req -new -x509 -config ext.cnf -extensions ca -key ca.key -subj "/CN=anyqueue test CA" -days 365 -out ca.pem
    for who in server client; do
      openssl req -new -config ext.cnf -key "$who.key" -subj "/CN=anyqueue test $who" -out "$who.csr"
      openssl x509 -req -in "$who.csr" -CA ca.pem -CAkey ca.key -set_serial "0x$(openssl rand -hex 8)" \
        -days 365 -extfile ext.cnf -extensions "$who" -out "$who.new"
    done
    chmod 644 server.key # a container reads it under another user; it guards nothing
    mv server.new server.pem && mv client.new client.pem
  ) >"$folder.log" 2>&1
}
