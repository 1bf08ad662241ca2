package server

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/crypto/scrypt"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// Files of the Secret "dotmesh".
const (
	apiKeyFile   = "dotmesh-api-key.txt"
	passwordFile = "dotmesh-admin-password.txt"
)

// minKey keeps a short key from being guessed: 16 characters of base64 or hex
// hold at least 64 bits.
const minKey = 16

// secretFile is a secret in a file that is read again when it changes. Kubernetes
// changes a mounted Secret by swapping a link, which stat follows.
type secretFile struct {
	path string

	mu   sync.Mutex
	seen fileIdentity
	sum  [sha256.Size]byte
	ok   bool
}

type fileIdentity struct {
	inode, device uint64
	size          int64
	modified      int64
}

func identityOf(info fs.FileInfo) fileIdentity {
	id := fileIdentity{size: info.Size(), modified: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		id.inode, id.device = st.Ino, st.Dev
	}
	return id
}

// matches compares in constant time. A file that is missing or empty matches
// nothing.
func (f *secretFile) matches(secret string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh()
	sum := sha256.Sum256([]byte(secret))
	return subtle.ConstantTimeCompare(sum[:], f.sum[:]) == 1 && f.ok
}

// present tells whether there is a secret.
func (f *secretFile) present() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh()
	return f.ok
}

func (f *secretFile) refresh() {
	info, err := os.Stat(f.path)
	if err != nil {
		f.ok, f.seen = false, fileIdentity{}
		return
	}
	id := identityOf(info)
	if f.ok && id == f.seen {
		return
	}
	content, err := os.ReadFile(f.path)
	secret := strings.TrimSpace(string(content))
	f.ok, f.seen = err == nil && len(secret) > 0, id
	if f.ok {
		f.sum = sha256.Sum256([]byte(secret))
	}
}

// makeSecretDir makes a directory with a random API key for the admin, for a
// server that was given none and serves a single machine.
func makeSecretDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return dot.Errorf(dot.CodeInternal, "make the directory of the API key: %w", err)
	}
	path := filepath.Join(dir, apiKeyFile)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	draft := path + ".new"
	if err := os.WriteFile(draft, []byte(base64.RawURLEncoding.EncodeToString(key)+"\n"), 0o600); err != nil {
		return dot.Errorf(dot.CodeInternal, "write the API key: %w", err)
	}
	return os.Rename(draft, path)
}

// Hashes of secrets in the registry: "sha256$<salt>$<sum>" for API keys, which
// are random and long, "scrypt$<salt>$<sum>" for passwords, which people choose.
const (
	kindSHA256 = "sha256"
	kindScrypt = "scrypt"

	scryptN, scryptR, scryptP = 1 << 15, 8, 1 // as scrypt's documentation recommends
)

// HashAPIKey gives what the registry keeps of an API key.
func HashAPIKey(key string) (string, error) {
	if len(key) < minKey {
		return "", dot.Invalid("an API key has at least %d characters", minKey)
	}
	return hashWith(kindSHA256, key)
}

// HashPassword gives what the registry keeps of a password.
func HashPassword(password string) (string, error) {
	const shortest = 8
	if len(password) < shortest {
		return "", dot.Invalid("a password has at least %d characters", shortest)
	}
	return hashWith(kindScrypt, password)
}

func hashWith(kind, secret string) (string, error) {
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return "", err
	}
	sum, err := sumOf(kind, salt, secret)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s$%x$%x", kind, salt, sum), nil
}

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
