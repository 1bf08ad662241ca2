package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

// Env is what the lab needs to know about its host. The zero value is not
// usable; see [HostEnv].
type Env struct {
	Cache string // built once, shared by all: binaries, images, disk templates
	Run   string // one directory per running VM or cluster
	Accel string // QEMU's -accel argument
	MemMB int    // memory per machine in MiB; 0: the caller's default
	CPUs  int    // processors per machine; 0: the caller's default
	Slots int    // machines that may run at once on this host

	Progress io.Writer // human-readable progress; never nil
}

// HostEnv reads the LAB_* variables (see the package documentation). Progress
// goes to w.
func HostEnv(w io.Writer) (Env, error) {
	e := Env{Progress: w}
	for _, s := range []struct {
		name, fallback string
		to             *string
	}{
		{"LAB_CACHE", "/var/cache/dotmesh-lab", &e.Cache},
		{"LAB_RUN", "/var/lib/dotmesh-lab", &e.Run},
		{"LAB_ACCEL", "tcg,thread=multi", &e.Accel},
	} {
		*s.to = s.fallback
		if v := os.Getenv(s.name); v != "" {
			*s.to = v
		}
	}
	var errs []error
	for _, n := range []struct {
		name     string
		fallback int
		to       *int
	}{{"LAB_MEM", 0, &e.MemMB}, {"LAB_CPUS", 0, &e.CPUs}, {"LAB_SLOTS", 4, &e.Slots}} {
		*n.to = n.fallback
		v := os.Getenv(n.name)
		if v == "" {
			continue
		}
		i, err := strconv.Atoi(v)
		if err != nil || i < 1 {
			errs = append(errs, fmt.Errorf("%s=%q: want a positive whole number", n.name, v))
			continue
		}
		*n.to = i
	}
	for _, p := range []string{e.Cache, e.Run} {
		if !filepath.IsAbs(p) {
			errs = append(errs, fmt.Errorf("%q: LAB_CACHE and LAB_RUN must be absolute paths", p))
		}
	}
	return e, errors.Join(errs...)
}

func (e Env) printf(format string, args ...any) {
	fmt.Fprintf(e.Progress, "lab: "+format+"\n", args...)
}

// validName keeps names usable as a directory, a network namespace, a host name
// and a part of a unix socket's path (at most 107 bytes).
var validName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,22}[a-z0-9]$`)

func checkName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("name %q: want 2 to 24 of a-z, 0-9 and -, starting with a letter", name)
	}
	return nil
}
