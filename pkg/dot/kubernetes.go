package dot

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// NameFor maps a name that Kubernetes or a CSI caller chose, which may hold dots
// and be long, to a dot's name: itself where it is valid, otherwise with its
// other characters replaced and a hash of the whole, so that two names never
// meet in one.
func NameFor(s string) Name {
	if n, err := ParseName(s); err == nil {
		return n
	}
	return Name{text{hashed(s, s)}}
}

// QualifiedNameFor is the name of the dot of a PVC whose own name is taken:
// "<kubernetes namespace>--<pvc name>-<8 hex of its UID>". A PVC that was
// deleted and made again has another UID, and so never meets the old data.
func QualifiedNameFor(kubeNamespace, pvcName, uid string) Name {
	sum := sha256.Sum256([]byte(uid))
	short := strings.ReplaceAll(uid, "-", "")
	if _, err := hex.DecodeString(short); err != nil || len(short) < 8 {
		short = hex.EncodeToString(sum[:4])
	}
	readable := kubeNamespace + "--" + pvcName + "-" + short[:8]
	if n, err := ParseName(readable); err == nil {
		return n
	}
	return Name{text{hashed(readable, kubeNamespace+"/"+pvcName+"/"+uid)}}
}

// hashed keeps what it can of readable and adds ten hex digits of whole's hash.
func hashed(readable, whole string) string {
	const digits = 10
	kept := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
			return r
		}
		return '-'
	}, readable)
	if len(kept) > maxName-digits-1 {
		kept = kept[:maxName-digits-1]
	}
	sum := sha256.Sum256([]byte(whole))
	return kept + "-" + hex.EncodeToString(sum[:])[:digits]
}
