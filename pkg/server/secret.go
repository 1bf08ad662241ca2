package server

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/dotmesh-io/dotmesh-csi/pkg/atomicfile"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// Files of the Secret "dotmesh".
const (
	apiKeyFile   = "dotmesh-api-key.txt"
	passwordFile = "dotmesh-admin-password.txt"
)

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
	if err := atomicfile.Write(path, []byte(base64.RawURLEncoding.EncodeToString(key)+"\n"), 0o600); err != nil {
		return dot.Errorf(dot.CodeInternal, "write the API key: %w", err)
	}
	return nil
}
