package clouddisk

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeMachine is a machine whose monitor knows what the disks use of QMP.
type fakeMachine struct {
	socket string
	users  []string

	mu      sync.Mutex
	off     bool
	deaf    int // how often the guest does not hear that a device is to go
	dieOn   string
	devices []string
	nodes   []string
	resized []string
}

func (m *fakeMachine) Monitor() string { return m.socket }

func (m *fakeMachine) Running() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.off
}

func (m *fakeMachine) Users(context.Context, string) ([]string, error) { return m.users, nil }

// has is what is plugged into the machine, devices first.
func (m *fakeMachine) has() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(slices.Concat(m.devices, m.nodes), " ")
}

func newMachine(t *testing.T) *fakeMachine {
	t.Helper()
	m := &fakeMachine{socket: filepath.Join(t.TempDir(), "qmp")}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", m.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go m.serve(conn)
		}
	}()
	return m
}

func (m *fakeMachine) serve(conn net.Conn) {
	defer conn.Close()
	out, in := json.NewEncoder(conn), json.NewDecoder(conn)
	_ = out.Encode(map[string]any{"QMP": map[string]any{}})
	for {
		var r struct {
			Execute   string
			Arguments map[string]any
		}
		if in.Decode(&r) != nil {
			return
		}
		if r.Execute == m.dieOn {
			m.mu.Lock()
			m.off = true
			m.mu.Unlock()
			return
		}
		_ = out.Encode(map[string]any{"event": "RTC_CHANGE", "data": map[string]any{}})
		result, refusal := m.do(r.Execute, r.Arguments)
		if refusal != "" {
			_ = out.Encode(map[string]any{"error": map[string]any{"class": "GenericError", "desc": refusal}})
			continue
		}
		_ = out.Encode(map[string]any{"return": result})
	}
}

func (m *fakeMachine) do(command string, args map[string]any) (result any, refusal string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	text := func(key string) string { s, _ := args[key].(string); return s }
	result = map[string]any{}
	switch command {
	case "qom-list":
		list := []map[string]any{}
		for _, d := range m.devices {
			list = append(list, map[string]any{"name": d})
		}
		return list, ""
	case "query-named-block-nodes":
		list := []map[string]any{}
		for _, n := range m.nodes {
			list = append(list, map[string]any{"node-name": n})
		}
		return list, ""
	case "blockdev-add":
		m.nodes = append(m.nodes, text("node-name"))
	case "blockdev-del":
		m.nodes = slices.DeleteFunc(m.nodes, func(n string) bool { return n == text("node-name") })
	case "device_add":
		if slices.Contains(m.devices, text("id")) {
			return nil, "Duplicate device ID"
		}
		m.devices = append(m.devices, text("id"))
	case "device_del":
		if m.deaf--; m.deaf >= 0 {
			return nil, "Device is already in the process of unplug"
		}
		m.devices = slices.DeleteFunc(m.devices, func(d string) bool { return d == text("id") })
	case "block_resize":
		m.resized = append(m.resized, text("node-name"))
	case "qmp_capabilities":
	default:
		return nil, "The command " + command + " has not been found"
	}
	return result, ""
}

// cloud is two machines, a and b, and one disk of 1 MiB.
type cloud struct {
	*Disks
	a, b *fakeMachine
	id   string
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{a: newMachine(t), b: newMachine(t)}
	c.Disks = &Disks{Dir: t.TempDir(), Machine: func(node string) (Machine, error) {
		switch node {
		case "a":
			return c.a, nil
		case "b":
			return c.b, nil
		}
		return nil, ErrNoNode
	}}
	disk, err := c.Create(t.Context(), "pvc-1", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	c.id = disk.ID
	return c
}

func (c *cloud) attach(t *testing.T, node string) {
	t.Helper()
	if err := c.Attach(t.Context(), c.id, node); err != nil {
		t.Fatal(err)
	}
}

func (c *cloud) detach(t *testing.T, node string) {
	t.Helper()
	if err := c.Detach(t.Context(), c.id, node); err != nil {
		t.Fatal(err)
	}
}

// check compares where the disk is said to be, and what the machines have.
func (c *cloud) check(t *testing.T, node string, onA, onB bool) {
	t.Helper()
	disk, err := c.Get(c.id)
	if err != nil || disk.Node != node {
		t.Errorf("the disk is recorded on %q, %v; want %q", disk.Node, err, node)
	}
	for _, m := range []struct {
		name    string
		machine *fakeMachine
		want    bool
	}{{"a", c.a, onA}, {"b", c.b, onB}} {
		want := ""
		if m.want {
			want = c.id + " node-" + c.id
		}
		if got := m.machine.has(); got != want {
			t.Errorf("machine %s has %q, want %q", m.name, got, want)
		}
	}
}

func TestADiskIsOnOneNodeAtATime(t *testing.T) {
	c := newCloud(t)
	c.attach(t, "a")
	c.attach(t, "a") // again, as the attacher may
	c.check(t, "a", true, false)
	if err := c.Attach(t.Context(), c.id, "b"); !errors.Is(err, ErrAttached) {
		t.Errorf("attach to a second node: got %v, want ErrAttached", err)
	}
	c.detach(t, "b") // it is not there: nothing happens
	c.check(t, "a", true, false)
	if err := c.Delete(t.Context(), c.id); !errors.Is(err, ErrAttached) {
		t.Errorf("delete of an attached disk: got %v, want ErrAttached", err)
	}
	c.detach(t, "a")
	c.detach(t, "a")
	c.check(t, "", false, false)
	c.attach(t, "b")
	c.check(t, "b", false, true)
}

func TestTwoAtOnce(t *testing.T) {
	c := newCloud(t)
	var both sync.WaitGroup
	errs := make([]error, 2)
	for i, node := range []string{"a", "b"} {
		both.Go(func() { errs[i] = c.Attach(t.Context(), c.id, node) })
	}
	both.Wait()
	if (errs[0] == nil) == (errs[1] == nil) {
		t.Fatalf("got %v, want one of the two refused", errs)
	}
	c.check(t, map[bool]string{true: "a", false: "b"}[errs[0] == nil], errs[0] == nil, errs[1] == nil)
}

func TestAPowerCutLeavesTheDiskToItsNode(t *testing.T) {
	c := newCloud(t)
	c.attach(t, "a")
	*c.a = fakeMachine{socket: c.a.socket, off: true}
	if err := c.Attach(t.Context(), c.id, "b"); !errors.Is(err, ErrAttached) {
		t.Errorf("attach elsewhere: got %v, want ErrAttached", err)
	}
	var arguments []string
	err := c.Boot(t.Context(), "a", func(got []string) error { arguments = got; return nil })
	if err != nil || !slices.Contains(arguments, "virtio-blk-pci,id="+c.id+",drive=node-"+c.id+",serial="+c.id) {
		t.Errorf("boot: got %q, %v; want the disk's device", arguments, err)
	}
	c.detach(t, "a")
	c.attach(t, "b")
	c.check(t, "b", false, true)
	if err := c.Boot(t.Context(), "a", func(got []string) error { arguments = got; return nil }); err != nil || arguments != nil {
		t.Errorf("boot after the detach: got %q, %v; want no device", arguments, err)
	}
}

func TestThePowerGoesDuringADetach(t *testing.T) {
	for _, command := range []string{"qmp_capabilities", "device_del", "blockdev-del"} {
		c := newCloud(t)
		c.attach(t, "a")
		c.a.dieOn = command
		c.detach(t, "a")
		if disk, err := c.Get(c.id); err != nil || disk.Node != "" {
			t.Errorf("power gone at %s: the disk is on %q, %v; want it free", command, disk.Node, err)
		}
	}
}

func TestAGuestThatDoesNotLetGo(t *testing.T) {
	c := newCloud(t)
	c.attach(t, "a")
	c.a.deaf = 1 << 20
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := c.Detach(ctx, c.id, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	c.check(t, "a", true, false)
	c.a.deaf = 0
	c.detach(t, "a")
	c.check(t, "", false, false)
}

func TestAHalfDoneAttachIsFinished(t *testing.T) {
	c := newCloud(t)
	c.a.nodes = []string{"node-" + c.id}
	c.attach(t, "a")
	c.check(t, "a", true, false)
	c.a.devices = nil
	c.detach(t, "a")
	c.check(t, "", false, false)
}

func TestAMisuseIsKept(t *testing.T) {
	c := newCloud(t)
	c.attach(t, "a")
	c.detach(t, "a")
	if got, err := c.Misuses(); err != nil || len(got) != 0 {
		t.Errorf("an unused disk was detached: got %v, %v; want no misuse", got, err)
	}
	c.attach(t, "a")
	c.a.users = []string{"process 7 (postgres)"}
	c.detach(t, "a")
	c.check(t, "", false, false)
	got, err := c.Misuses()
	if err != nil || len(got) != 1 || got[0].Disk != c.id || got[0].Node != "a" || !slices.Equal(got[0].Users, c.a.users) {
		t.Errorf("got %+v, %v; want one misuse of %s on a", got, err, c.id)
	}
}

func TestANodeThatIsGone(t *testing.T) {
	c := newCloud(t)
	c.attach(t, "a")
	if err := c.Forget(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	c.attach(t, "b")
	if err := c.Forget(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	c.check(t, "b", true, true) // the fake a was not ended
	c.detach(t, "nobody")
	if err := c.Attach(t.Context(), c.id, "nobody"); !errors.Is(err, ErrNoNode) {
		t.Errorf("attach to no node: got %v, want ErrNoNode", err)
	}
}

func TestSizes(t *testing.T) {
	c := newCloud(t)
	size := func() int64 {
		t.Helper()
		st, err := os.Stat(c.File(c.id))
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	if again, err := c.Create(t.Context(), "pvc-1", 1<<20); err != nil || again.ID != c.id {
		t.Errorf("create again: got %+v, %v; want the same disk", again, err)
	}
	if _, err := c.Create(t.Context(), "pvc-1", 2<<20); !errors.Is(err, ErrSize) {
		t.Errorf("create with another size: got %v, want ErrSize", err)
	}
	for _, step := range []struct {
		node       string
		size, want int64
	}{{"", 2 << 20, 2 << 20}, {"a", 3 << 20, 3 << 20}, {"a", 1 << 20, 3 << 20}} {
		if step.node != "" {
			c.attach(t, step.node)
		}
		got, err := c.Resize(t.Context(), c.id, step.size)
		if err != nil || got != step.want || size() != step.want {
			t.Errorf("resize to %d: got %d, %v, a file of %d; want %d", step.size, got, err, size(), step.want)
		}
	}
	if want := "node-" + c.id; len(c.a.resized) == 0 || c.a.resized[0] != want {
		t.Errorf("the machine was told of %q, want %q", c.a.resized, want)
	}
	c.detach(t, "a")
	if err := c.Delete(t.Context(), c.id); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(c.id); !errors.Is(err, ErrNoDisk) {
		t.Errorf("after the delete: got %v, want ErrNoDisk", err)
	}
	if left, _ := filepath.Glob(filepath.Join(c.Dir, "*.img")); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

func TestCheckID(t *testing.T) {
	for id, want := range map[string]bool{
		IDOf("pvc-1"): true, "disk0123456789abcdef": true,
		"": false, "disk": false, "disk0123456789abcde": false, "disk0123456789abcdeg": false,
		"../0123456789abcdef": false, "disk../456789abcdef0": false, "vol-0123456789abcdef": false,
	} {
		if err := CheckID(id); (err == nil) != want {
			t.Errorf("%q: got %v, want accepted: %v", id, err, want)
		}
	}
	if got := len(IDOf("pvc-1")); got > 20 {
		t.Errorf("an id has %d characters; virtio-blk shows 20", got)
	}
}
