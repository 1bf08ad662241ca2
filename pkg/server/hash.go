package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"

	"golang.org/x/crypto/scrypt"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// Hashes of secrets in the registry: "sha256$<salt>$<sum>" for API keys, which
// are random and long, "scrypt$<salt>$<sum>" for passwords, which people choose.
const (
	kindSHA256 = "sha256"
	kindScrypt = "scrypt"

	scryptN, scryptR, scryptP = 1 << 15, 8, 1 // as scrypt's documentation recommends
)

func sumOf(kind string, salt []byte, secret string) ([]byte, error) {
	switch kind {
	case kindSHA256:
		sum := sha256.Sum256(append(append([]byte{}, salt...), secret...))
		return sum[:], nil
	case kindScrypt:
		return scrypt.Key([]byte(secret), salt, scryptN, scryptR, scryptP, 32)
	}
	return nil, dot.Errorf(dot.CodeInternal, "a secret is hashed in a way that is not known: %q", kind)
}

// hashMatches tells whether a secret is the one that was hashed.
func hashMatches(hash, secret string) bool {
	parts := strings.Split(hash, "$")
	if len(parts) != 3 {
		return false
	}
	salt, err1 := hex.DecodeString(parts[1])
	want, err2 := hex.DecodeString(parts[2])
	got, err3 := sumOf(parts[0], salt, secret)
	return err1 == nil && err2 == nil && err3 == nil && len(want) > 0 && subtle.ConstantTimeCompare(want, got) == 1
}
