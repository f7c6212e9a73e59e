#!/bin/sh
# How these vectors were made: certificates by openssl, PASSporTs by secsipidx, nothing by the code that they test.
# Not run by anything: a vector that is made anew is not frozen. The private keys were thrown away.
set -eu
cd "$(dirname "$0")"
x5u=https://localhost:28443/frozen.pem
keys=$(mktemp -d)
trap 'rm -rf "$keys"' EXIT

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$keys/$1.key"; }

key root
openssl req -x509 -new -key "$keys/root.key" -sha256 -days 18250 -subj "/C=US/O=Frozen/CN=SHAKEN Frozen Root" \
	-addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" -out root.pem

key provider
openssl req -new -key "$keys/provider.key" -subj "/C=US/O=Frozen/CN=SHAKEN 709J" -out "$keys/provider.csr"
cat >"$keys/extensions" <<END
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
certificatePolicies=2.16.840.1.114569.1.1.4
# TNAuthorizationList (RFC 8226 9): one service provider code, [0] EXPLICIT IA5String
1.3.6.1.5.5.7.1.26=ASN1:SEQUENCE:tnauthlist
[tnauthlist]
spc=EXPLICIT:0,IA5STRING:709J
END
openssl x509 -req -in "$keys/provider.csr" -CA root.pem -CAkey "$keys/root.key" -set_serial 0x7090001 -sha256 -days 18250 \
	-extfile "$keys/extensions" -out frozen.pem 2>/dev/null

# NAME ATTESTATION ORIGID: from 1 215 555 0121 to 1 215 555 0131
identity() {
	secsipidx -sign-full -orig-tn 12155550121 -dest-tn 12155550131 -attest "$2" -orig-id "$3" -x5u "$x5u" \
		-fprvkey "$keys/provider.key" >"$1.identity"
}
identity full A 5f1cb0f6-9a0c-4a5e-8f0b-6d0a51d0c001
identity gateway C 5f1cb0f6-9a0c-4a5e-8f0b-6d0a51d0c002

# The last character of a payload that says A, behind a signature over another
sed 's/^\([^.]*\.\)[^.]*\./\1'"$(cut -d. -f2 gateway.identity)"'./' full.identity >swapped.identity
