package server

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestSocketIsRootsAndTakesThePlaceOfAnEarlierOne(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	path := filepath.Join(dir, socketName)
	for range 2 {
		l, err := listenSocket(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		for file, want := range map[string]os.FileMode{dir: 0o700, path: 0o600} {
			info, err := os.Stat(file)
			if err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: got %v, %v, want %v", file, info.Mode(), err, want)
			}
		}
		accepted := make(chan error, 1)
		go func() {
			c, err := l.Accept()
			if err == nil {
				_ = c.Close()
			}
			accepted <- err
		}()
		c, err := (&net.Dialer{}).DialContext(t.Context(), "unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-accepted; os.Getuid() == 0 && err != nil {
			t.Errorf("root was refused: %v", err)
		}
		_ = c.Close()
	}
}
