package node

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dotmesh-io/dotmesh-csi/pkg/atomicfile"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// writers remembers, in one small file per volume, where a volume of access mode
// ReadWriteOncePod is published: the specification lets no second target have
// it. The files lie on a tmpfs, so they end with the mounts they tell of, and
// outlive this process.
type writers struct{ dir string }

// claim takes the volume for target, and refuses while it is mounted elsewhere.
func (w writers) claim(volume, target string) error {
	file := w.file(volume)
	holder, err := os.ReadFile(file)
	switch {
	case err == nil && string(holder) == target:
		return nil
	case err == nil:
		at, err := mountedAt(string(holder))
		if err != nil {
			return err
		}
		if at != nil {
			return dot.Precondition("the volume is ReadWriteOncePod and is published at %s; end the pod that uses it first", holder)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read where the volume is published: %w", err)
	}
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return fmt.Errorf("remember where the volume is published: %w", err)
	}
	if err := atomicfile.Write(file, []byte(target), 0o600); err != nil {
		return fmt.Errorf("remember where the volume is published: %w", err)
	}
	return nil
}

// release forgets target; another's claim stays.
func (w writers) release(volume, target string) error {
	holder, err := os.ReadFile(w.file(volume))
	if err == nil && string(holder) == target {
		err = os.Remove(w.file(volume))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget where the volume was published: %w", err)
	}
	return nil
}

func (w writers) file(volume string) string {
	sum := sha256.Sum256([]byte(volume))
	return filepath.Join(w.dir, hex.EncodeToString(sum[:16]))
}
