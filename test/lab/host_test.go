package lab

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestWhatIsMissingIsSaid(t *testing.T) {
	have := func(name string) string {
		if name == "qemu-system-x86_64" || name == "runc" {
			return ""
		}
		return "/usr/bin/" + name
	}
	const meminfo = "MemTotal:       4000000 kB\nMemAvailable:   2048000 kB\n"
	dir := t.TempDir()
	for _, c := range []struct {
		name string
		err  error
		want []string // in the message; none: no error
	}{
		{"tools", missingTools(have, append(machineTools(), clusterTools()...)), []string{"qemu-system-x86_64, runc", "lab deps"}},
		{"no tool", missingTools(have, []string{"ip", "ssh"}), nil},
		{"memory", checkMemory(meminfo, 2500), []string{"2500 MiB of memory needed, 2000 available", "LAB_MEM"}},
		{"memory enough", checkMemory(meminfo, 2000), nil},
		{"disk", checkDisk("LAB_RUN", dir, 1<<40), []string{"MiB of disk needed in " + dir, "set LAB_RUN to a larger"}},
		{"disk enough", checkDisk("LAB_RUN", dir, 1), nil},
		{"name", checkName("-x"), []string{`name "-x"`, "starting with a letter"}},
	} {
		got := ""
		if c.err != nil {
			got = c.err.Error()
		}
		if (got != "") != (c.want != nil) {
			t.Errorf("%s: got error %q, want one: %v", c.name, got, c.want != nil)
		}
		for _, w := range c.want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: got %q, want %q in it", c.name, got, w)
			}
		}
	}
}

func TestSlotsThatTheHostDoesNotHave(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := (Env{Slots: 2}).acquireSlots(ctx, 3); err == nil || !strings.Contains(err.Error(), "LAB_SLOTS") {
		t.Errorf("got %v, want advice on LAB_SLOTS", err)
	}
}

// TestEmulationUnlessAsked: /dev/kvm can exist and still hang a kernel.
func TestEmulationUnlessAsked(t *testing.T) {
	for accel, want := range map[string]string{"": "tcg,thread=multi", "kvm": "kvm"} {
		t.Setenv("LAB_ACCEL", accel)
		if e, err := HostEnv(os.Stderr); err != nil || e.Accel != want {
			t.Errorf("LAB_ACCEL=%q: got %q, %v, want %q", accel, e.Accel, err, want)
		}
	}
}

func TestHostEnvRefuses(t *testing.T) {
	for name, value := range map[string]string{"LAB_MEM": "much", "LAB_CPUS": "0", "LAB_SLOTS": "-1", "LAB_RUN": "here"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			if _, err := HostEnv(os.Stderr); err == nil || !strings.Contains(err.Error(), value) {
				t.Errorf("%s=%s: got %v, want an error that names it", name, value, err)
			}
		})
	}
}

func TestReadDockerfile(t *testing.T) {
	const good = "FROM x\nRUN apt-get install -y --no-install-recommends \\\n  a \\\n b; rm -rf /x\nENTRYPOINT [\"p\", \"q\"]\n"
	packages, entrypoint, err := readDockerfile(good)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := packages, []string{"a", "b"}; !slices.Equal(got, want) {
		t.Errorf("packages: got %q, want %q", got, want)
	}
	if got, want := entrypoint, []string{"p", "q"}; !slices.Equal(got, want) {
		t.Errorf("entrypoint: got %q, want %q", got, want)
	}
	for _, bad := range []string{"FROM x\n", strings.Replace(good, "ENTRYPOINT [", "ENTRYPOINT p [", 1), strings.Replace(good, "--no-install-recommends", "", 1)} {
		if _, _, err := readDockerfile(bad); err == nil {
			t.Errorf("took %q", bad)
		}
	}
}

func TestNameThatIsTaken(t *testing.T) {
	e := Env{Run: t.TempDir()}
	for _, name := range []string{"detached", "owned", "orphan"} {
		if err := os.Mkdir(e.siteDir(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	owner, err := lockFile(e.siteDir("owned")+"/owner.lock", unix.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	gone, err := lockFile(e.siteDir("orphan")+"/owner.lock", unix.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for name, free := range map[string]bool{"detached": false, "owned": false, "orphan": true, "new": true, "Bad": false} {
		if err := e.checkFree(name); (err == nil) != free {
			t.Errorf("%s: got %v, want free: %v", name, err, free)
		}
	}
}
