//go:build lab

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/test/lab/image"
)

// allowed are the differences that the packed image may have from the one that
// the Dockerfile makes. A path that ends with / stands for all below it.
var allowed = []struct{ path, reason string }{
	{"/usr/share/doc/", "documentation, which the packed image leaves out"},
	{"/usr/share/man/", "documentation, which the packed image leaves out"},
	{"/usr/share/locale/", "translations, which the packed image leaves out"},
	{"/var/cache/", "what the installation leaves"},
	{"/var/log/", "what the installation leaves"},
	{"/var/lib/apt/", "which packages came as dependencies"},
	{"/var/lib/dpkg/", "the order of the installation; the packages' versions are compared"},
	{"/etc/shadow", "the day of the installation; the rest is compared"},
	{"/etc/shadow-", "the day of the installation"},
	{"/etc/hosts", "an empty place for the build's own"},
	{"/etc/resolv.conf", "an empty place for the build's own"},
	{"/etc/hostname", "an empty place for the build's own"},
}

func reasonFor(path string) string {
	for _, a := range allowed {
		if path == a.path || strings.HasSuffix(a.path, "/") && strings.HasPrefix(path+"/", a.path) {
			return a.reason
		}
	}
	return ""
}

// basesOf reads the Dockerfile's own list of Debian bases: suite by ZFS version.
func basesOf(t *testing.T) map[string]string {
	t.Helper()
	repo, err := Repository()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(repo, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	bases := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^# +ZFS (\d\.\d+) +BASE=debian:([a-z]+)-slim`).FindAllStringSubmatch(string(b), -1) {
		bases[m[2]] = m[1]
	}
	if len(bases) < 2 {
		t.Fatalf("the Dockerfile lists the bases %v, want at least two of Debian", bases)
	}
	return bases
}

// TestDockerfile builds the Dockerfile on each Debian base that it lists, sees
// that the image has the ZFS that it says, and that the image that the lab packs
// for its clusters has the same contents as the one on the host's own suite.
func TestDockerfile(t *testing.T) {
	env, err := HostEnv(os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 14*time.Minute)
	defer cancel()
	t.Cleanup(func() { checkNoBuild(t, env) })
	host, err := hostSuite()
	if err != nil {
		t.Fatal(err)
	}
	bases := basesOf(t)
	if bases[host] == "" {
		t.Fatalf("the Dockerfile lists no base for this host's Debian %s", host)
	}
	for suite, zfs := range bases {
		t.Run(suite, func(t *testing.T) {
			removeStaleRoots(ctx, t, env, suite)
			built, err := env.DockerfileArchive(ctx, suite)
			if err != nil {
				t.Fatal(err)
			}
			defer os.Remove(built)
			b := readArchive(t, built)
			if got := b.packages["zfsutils-linux"]; !strings.HasPrefix(got, zfs+".") {
				t.Errorf("zfsutils-linux on Debian %s: got %q, want version %s as the Dockerfile says", suite, got, zfs)
			}
			if suite != host {
				return
			}
			packed, err := env.DotmeshArchive(ctx, Build{})
			if err != nil {
				t.Fatal(err)
			}
			compare(t, readArchive(t, packed), b)
		})
	}
}

// dotmeshImage is an image with what must be compared by meaning.
type dotmeshImage struct {
	image.Content
	packages map[string]string // version by name
	shadow   []string          // without the days of the last change
}

func readArchive(t *testing.T, archive string) dotmeshImage {
	t.Helper()
	const status, shadow = "/var/lib/dpkg/status", "/etc/shadow"
	c, kept, err := image.Read(archive, status, shadow)
	if err != nil {
		t.Fatal(err)
	}
	d := dotmeshImage{Content: c, packages: map[string]string{}}
	for _, paragraph := range strings.Split(string(kept[status]), "\n\n") {
		fields := map[string]string{}
		for line := range strings.Lines(paragraph) {
			if name, value, ok := strings.Cut(line, ": "); ok {
				fields[name] = strings.TrimSpace(value)
			}
		}
		if fields["Package"] != "" {
			d.packages[fields["Package"]] = fields["Version"] + " " + fields["Status"]
		}
	}
	for line := range strings.Lines(string(kept[shadow])) {
		f := strings.Split(line, ":")
		if len(f) > 2 {
			f[2] = "day"
		}
		d.shadow = append(d.shadow, strings.Join(f, ":"))
	}
	return d
}

func compare(t *testing.T, packed, built dotmeshImage) {
	t.Helper()
	counts := map[string]int{}
	var wrong []string
	for _, d := range image.Diff(packed.Content, built.Content) {
		if reason := reasonFor(d.Path); reason != "" {
			counts[reason]++
			continue
		}
		wrong = append(wrong, d.String())
	}
	for name := range packed.packages {
		if built.packages[name] == "" {
			built.packages[name] = "nothing"
		}
	}
	for name, version := range built.packages {
		if got := packed.packages[name]; got != version {
			wrong = append(wrong, fmt.Sprintf("package %s: %s | %s", name, got, version))
		}
	}
	slices.Sort(packed.shadow)
	slices.Sort(built.shadow)
	if !slices.Equal(packed.shadow, built.shadow) {
		wrong = append(wrong, fmt.Sprintf("/etc/shadow: %q | %q", packed.shadow, built.shadow))
	}
	for reason, n := range counts {
		t.Logf("%d differences allowed: %s", n, reason)
	}
	if len(wrong) > 0 {
		t.Errorf("the packed image and the Dockerfile's differ (packed | built):\n%s", strings.Join(wrong, "\n"))
	}
	t.Logf("%d files and %d packages compared", len(built.Files), len(built.packages))
}

// removeStaleRoots forgets cached roots of before the mirror's last release: the
// Dockerfile installs what the mirror has now.
func removeStaleRoots(ctx context.Context, t *testing.T, env Env, suite string) {
	t.Helper()
	file := "http://deb.debian.org/debian/dists/" + suite + "/InRelease"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, file, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, date, _ := strings.Cut(string(text), "\nDate: ")
	date, _, _ = strings.Cut(date, "\n")
	released, err := time.Parse(time.RFC1123, date)
	if err != nil {
		t.Fatalf("%s: %s: %v", file, answer.Status, err)
	}
	roots, _ := filepath.Glob(filepath.Join(env.imageDir(), "debian-"+suite+"-*.layer"))
	for _, root := range roots {
		if modTime(root).Before(released) {
			if err := os.Remove(root); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestInterruptedBuild ends a build in the middle, as the keyboard does.
func TestInterruptedBuild(t *testing.T) {
	env, err := HostEnv(os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	host, err := hostSuite()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	root, err := env.debianLayer(ctx, debianRoot{suite: host, components: "main"})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the base is %s", root)
	interrupted := errors.New("interrupted by the test")
	build, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	seen := make(chan map[int]string, 1)
	go func() {
		var started map[int]string
		for build.Err() == nil {
			started = descendants(t)
			for _, command := range started {
				if strings.HasPrefix(command, "apt-get update") {
					stop(interrupted)
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
		seen <- started
	}()
	if _, err := env.DockerfileArchive(build, host); !errors.Is(err, interrupted) {
		t.Errorf("got %v, want what ended it", err)
	}
	stop(nil)
	for pid, command := range <-seen {
		if _, err := startTime(pid); err == nil {
			t.Errorf("process %d is left: %s", pid, command)
		}
	}
	checkNoBuild(t, env)
}

// descendants are the command lines of what this process has started and what
// those have, by process number.
func descendants(t *testing.T) map[int]string {
	t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Error(err)
	}
	children := map[int][]int{}
	for _, p := range procs {
		stat, err := os.ReadFile(filepath.Join(p, "stat"))
		if err != nil {
			continue
		}
		var pid, parent int
		var state string
		_, rest, _ := strings.Cut(string(stat), ") ")
		if _, err := fmt.Sscan(rest, &state, &parent); err != nil {
			continue
		}
		if _, err := fmt.Sscan(filepath.Base(p), &pid); err == nil {
			children[parent] = append(children[parent], pid)
		}
	}
	all := map[int]string{}
	for next := children[os.Getpid()]; len(next) > 0; next = next[1:] {
		argv, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", next[0]))
		all[next[0]] = strings.ReplaceAll(string(argv), "\x00", " ")
		next = append(next, children[next[0]]...)
	}
	return all
}

// checkNoBuild looks for what a build could leave on the host.
func checkNoBuild(t *testing.T, env Env) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, env.imageDir()) {
			t.Errorf("a mount is left: %s", line)
		}
	}
	for pid, command := range descendants(t) {
		t.Errorf("process %d is left: %s", pid, command)
	}
	left, _ := filepath.Glob(filepath.Join(env.imageDir(), ".work-*"))
	for _, dir := range left {
		t.Errorf("%s is left", dir)
	}
}
