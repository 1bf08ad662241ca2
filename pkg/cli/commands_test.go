package cli

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"sigs.k8s.io/yaml"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

const someID = "0b3f8a52-6f0a-4c2e-9d0e-2b7d0a1f5c11"

func someDot() *dotmeshv1.Dot {
	return &dotmeshv1.Dot{
		Id: someID, Namespace: "admin", Name: "shop", Owner: "web", MadeByPvc: true, State: "ready",
		SharedWith: []string{"test"}, Created: timestamppb.New(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)),
		Branches: []*dotmeshv1.Branch{{
			Name: "master", MasterNode: "node1", CommitCount: 2, LatestCommit: "c2", UsedBytes: 3 << 20, WrittenBytes: 512,
		}},
		Volumes: []*dotmeshv1.Volume{{
			Id: "v1", Branch: "master", Subdot: "db", SizeBytes: 1 << 30, KubernetesNamespace: "web", PvcName: "db", PublishedNodes: []string{"node1"},
		}},
	}
}

func someCommit() *dotmeshv1.Commit {
	return &dotmeshv1.Commit{
		Id: "c1", Branch: "master", Sequence: 1, Author: "admin", Message: "first\nsecond \x1b[31mline",
		Time:     timestamppb.New(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)),
		Metadata: map[string]string{"release": "1.4", "by": "ann"}, Handle: someID + "/c1",
	}
}

func TestList(t *testing.T) {
	f := startFake(t)
	u := newUserOf(t, f)
	code, out, errOut := u.dm("list")
	if code != ExitOK || out != "" {
		t.Errorf("an empty list: exit code %d, output %q", code, out)
	}
	contains(t, "the note", errOut, "There are no dots", "dm init")
	f.dots = []*dotmeshv1.Dot{someDot()}
	contains(t, "the table", u.must("list"), "DOT", "admin/shop", "web", "test", "node1", "3.0 MiB", "512 B", "2", "ready")
	if got, want := u.must("ls", "-o", "name"), "admin/shop\n"; got != want {
		t.Errorf("names %q, want %q", got, want)
	}
	var fromJSON, fromYAML struct {
		Dots []struct{ Name, Owner string }
	}
	if err := json.Unmarshal([]byte(u.must("list", "-o", "json")), &fromJSON); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(u.must("list", "-o", "yaml")), &fromYAML); err != nil {
		t.Fatal(err)
	}
	if got := fromJSON.Dots[0].Name + " " + fromYAML.Dots[0].Owner; got != "shop web" {
		t.Errorf("JSON and YAML say %q", got)
	}
	u.must("list", "--released")
	last := f.requests()[len(f.requests())-1]
	if want := (&dotmeshv1.ListDotsRequest{Released: true}); !proto.Equal(last, want) {
		t.Errorf("asked %v, want %v", last, want)
	}
}

func TestShow(t *testing.T) {
	f := startFake(t)
	u := newUserOf(t, f)
	f.dots = []*dotmeshv1.Dot{someDot()}
	contains(t, "the dot", u.must("show", "shop"), "admin/shop", someID, "namespace web", "Shared with:", "master", "c2", "web/db", "1.0 GiB", "read-write", "node1")
	for arg, want := range map[string]string{"shop": "admin/shop", "team/shop": "team/shop", someID: someID} {
		u.must("show", arg)
		last := f.requests()[len(f.requests())-1]
		if got := last.(*dotmeshv1.GetDotRequest).GetDot(); got != want {
			t.Errorf("show %s asks for %q, want %q", arg, got, want)
		}
	}
}

func TestLog(t *testing.T) {
	f := startFake(t)
	u := newUserOf(t, f)
	_, _, errOut := u.dm("log", "shop")
	contains(t, "the note", errOut, "no commits", "dm commit admin/shop")
	f.commits = []*dotmeshv1.Commit{someCommit()}
	out := u.must("log", "shop", "-b", "test")
	contains(t, "the log", out, "commit c1", "Author:", "admin", "2026-03-04T05:06:07Z", "release:", "1.4", "    first\n", "    second", someID+"/c1")
	if strings.Contains(out, "\x1b") {
		t.Error("the log lets a message send control characters to the terminal")
	}
	if strings.Index(out, "by:") > strings.Index(out, "release:") {
		t.Errorf("metadata is not sorted:\n%s", out)
	}
	contains(t, "the short log", u.must("log", "shop", "--oneline"), "COMMIT", "c1", "first")
	if got, want := u.must("log", "shop", "-o", "name"), "c1\n"; got != want {
		t.Errorf("names %q, want %q", got, want)
	}
	want := &dotmeshv1.ListCommitsRequest{Dot: "admin/shop", Branch: "test"}
	if got := f.requests()[1]; !proto.Equal(got, want) {
		t.Errorf("asked %v, want %v", got, want)
	}
}

func TestCommit(t *testing.T) {
	f := startFake(t)
	u := newUserOf(t, f)
	f.commits = []*dotmeshv1.Commit{someCommit()}
	contains(t, "the output", u.must("commit", "shop", "-m", "a message", "-d", "release=1.4", "-d", "note=a=b,c"), "commit c1", someID+"/c1")
	got := f.requests()[0].(*dotmeshv1.CommitRequest)
	if got.GetIdempotencyKey() == "" {
		t.Error("the request has no idempotency key")
	}
	got.IdempotencyKey = ""
	want := &dotmeshv1.CommitRequest{
		Dot: "admin/shop", Branch: "master", Message: "a message",
		Metadata: map[string]string{"release": "1.4", "note": "a=b,c"},
	}
	if !proto.Equal(got, want) {
		t.Errorf("asked %v, want %v", got, want)
	}
	if got, want := u.must("commit", "shop", "-m", "x", "-o", "name"), "c1\n"; got != want {
		t.Errorf("name %q, want %q", got, want)
	}
}

func TestCommitIsTriedAgainWithTheSameKey(t *testing.T) {
	f := startFake(t)
	u := newUserOf(t, f)
	f.commits = []*dotmeshv1.Commit{someCommit()}
	f.failures = []error{dot.Unavailable("the answer was lost")}
	u.must("commit", "shop", "-m", "x")
	asked := f.requests()
	if len(asked) != 2 || !proto.Equal(asked[0], asked[1]) {
		t.Errorf("asked %v, want the same request twice", asked)
	}
}

func TestShareUnshareInit(t *testing.T) {
	f := startFake(t)
	u := newUserOf(t, f)
	f.dots = []*dotmeshv1.Dot{someDot()}
	yes, no := true, false
	for _, c := range []struct {
		args []string
		want proto.Message
	}{
		{[]string{"dot", "share", "shop", "test", "dev"}, &dotmeshv1.ShareDotRequest{Dot: "admin/shop", Share: []string{"test", "dev"}}},
		{[]string{"dot", "share", "shop", "--all"}, &dotmeshv1.ShareDotRequest{Dot: "admin/shop", All: &yes}},
		{[]string{"dot", "unshare", "shop", "test"}, &dotmeshv1.ShareDotRequest{Dot: "admin/shop", Unshare: []string{"test"}}},
		{[]string{"dot", "unshare", "shop", "--all"}, &dotmeshv1.ShareDotRequest{Dot: "admin/shop", All: &no}},
		{[]string{"init", "shop"}, &dotmeshv1.CreateDotRequest{Dot: "admin/shop"}},
		{
			[]string{"init", "team/shop", "--share", "a", "--share", "b", "--compression", "lz4", "--recordsize", "16K"},
			&dotmeshv1.CreateDotRequest{Dot: "team/shop", ShareWith: []string{"a", "b"}, Compression: "lz4", RecordSize: "16K"},
		},
		{[]string{"init", "shop", "--share-all"}, &dotmeshv1.CreateDotRequest{Dot: "admin/shop", ShareAll: true}},
	} {
		out := u.must(c.args...)
		contains(t, strings.Join(c.args, " "), out, "admin/shop")
		asked := f.requests()
		if got := asked[len(asked)-1]; !proto.Equal(got, c.want) {
			t.Errorf("dm %s asks %v, want %v", strings.Join(c.args, " "), got, c.want)
		}
	}
}

func TestDelete(t *testing.T) {
	f := startFake(t)
	u := newUserOf(t, f)
	for _, answer := range []string{"", "n\n", "what\n"} {
		u.stdin = answer
		code, _, errOut := u.dm("dot", "delete", "shop")
		if code != ExitState || !strings.Contains(errOut, "admin/shop") || !strings.Contains(errOut, "--force") {
			t.Errorf("answer %q: exit code %d: %s", answer, code, errOut)
		}
	}
	if asked := f.requests(); len(asked) > 0 {
		t.Errorf("without a yes the server was asked: %v", asked)
	}
	u.stdin = "y\n"
	u.must("dot", "delete", "shop")
	u.stdin = ""
	u.must("dot", "delete", "shop", "-f")
	want := &dotmeshv1.DeleteDotRequest{Dot: "admin/shop"}
	if asked := f.requests(); len(asked) != 2 || !proto.Equal(asked[0], want) || !proto.Equal(asked[1], want) {
		t.Errorf("asked %v, want twice %v", asked, want)
	}
}

// Ctrl-C ends a question that nobody answers.
func TestInterruptedQuestions(t *testing.T) {
	f := startFake(t)
	u := newUserOf(t, f)
	for name, args := range map[string][]string{
		"yes or no": {"dot", "delete", "shop"},
		"API key":   {"remote", "add", "x", f.address(), "--fingerprint", f.fingerprint(), "--api-key-file", "-"},
	} {
		in, typing := io.Pipe()
		var errOut strings.Builder
		ctx, interrupt := context.WithTimeout(t.Context(), 100*time.Millisecond)
		code := Main(ctx, "9.9.9", args, Terminal{
			In: in, Out: io.Discard, Err: &errOut, Home: u.home, Getenv: func(string) string { return "" },
		})
		interrupt()
		_ = typing.Close()
		if code != ExitInterrupted {
			t.Errorf("%s: exit code %d, want %d", name, code, ExitInterrupted)
		}
		contains(t, name, errOut.String(), "nothing was sent")
	}
	if asked := f.requests(); len(asked) > 0 {
		t.Errorf("the server was asked: %v", asked)
	}
}

// What cannot be right is refused before the server is asked.
func TestUsageErrors(t *testing.T) {
	f := startFake(t)
	u := newUserOf(t, f)
	long := strings.Repeat("x", dot.MaxProperty)
	for _, c := range []struct {
		says string
		args []string
	}{
		{`"bogus"`, []string{"bogus"}},
		{`"bogus"`, []string{"remote", "bogus"}},
		{`"bogus"`, []string{"dot", "bogus"}},
		{"--bogus", []string{"list", "--bogus"}},
		{"no arguments", []string{"list", "x"}},
		{"arg", []string{"show"}},
		{`"xml"`, []string{"list", "-o", "xml"}},
		{"--timeout", []string{"list", "--timeout", "0s"}},
		{`"a b"`, []string{"show", "a b"}},
		{`".."`, []string{"show", "admin/.."}},
		{`"x/y"`, []string{"show", "admin/x/y"}},
		{`"a@b"`, []string{"log", "shop", "-b", "a@b"}},
		{"message", []string{"commit", "shop"}},
		{"message", []string{"commit", "shop", "-m", "  "}},
		{"8191", []string{"commit", "shop", "-m", long + "x"}},
		{"8191", []string{"commit", "shop", "-m", "m", "-d", "k=" + long}},
		{`"Upper"`, []string{"commit", "shop", "-m", "m", "-d", "Upper=1"}},
		{"KEY=VALUE", []string{"commit", "shop", "-m", "m", "-d", "novalue"}},
		{"twice", []string{"commit", "shop", "-m", "m", "-d", "a=1", "-d", "a=2"}},
		{"--all", []string{"dot", "share", "shop"}},
		{"--all", []string{"dot", "share", "shop", "--all", "test"}},
		{`"Bad_NS"`, []string{"dot", "unshare", "shop", "Bad_NS"}},
		{`"Bad_NS"`, []string{"init", "shop", "--share", "Bad_NS"}},
		{`"best"`, []string{"init", "shop", "--compression", "best"}},
		{`"3K"`, []string{"init", "shop", "--recordsize", "3K"}},
	} {
		code, _, errOut := u.dm(c.args...)
		if code != ExitUsage {
			t.Errorf("dm %.60q: exit code %d, want %d: %s", c.args, code, ExitUsage, errOut)
		}
		if !strings.Contains(errOut, c.says) {
			t.Errorf("dm %.60q does not say %q: %s", c.args, c.says, errOut)
		}
	}
	if asked := f.requests(); len(asked) > 0 {
		t.Errorf("the server was asked: %v", asked)
	}
}

// What the server answers reaches the user word by word, with the exit code of
// its class.
func TestServerErrors(t *testing.T) {
	f := startFake(t)
	u := newUserOf(t, f)
	for _, c := range []struct {
		code dot.Code
		want int
	}{
		{dot.CodeInternal, ExitFailed}, {dot.CodeInvalid, ExitUsage}, {dot.CodeNotFound, ExitNotFound},
		{dot.CodeExists, ExitState}, {dot.CodePermission, ExitRefused}, {dot.CodeUnauthenticated, ExitRefused},
		{dot.CodePrecondition, ExitState}, {dot.CodeAborted, ExitState}, {dot.CodeUnavailable, ExitUnavailable},
		{dot.CodeExhausted, ExitState}, {dot.CodeOutOfRange, ExitUsage}, {dot.CodeDeadline, ExitUnavailable},
	} {
		f.failures = []error{dot.Errorf(c.code, "reason %d and what to do", c.code)}
		code, out, errOut := u.dm("show", "shop")
		if code != c.want || out != "" {
			t.Errorf("code %d: exit code %d, want %d; output %q", c.code, code, c.want, out)
		}
		contains(t, "the error", errOut, "and what to do")
	}
}

func TestVersion(t *testing.T) {
	f := startFake(t)
	u := newUserOf(t, f)
	contains(t, "the versions", u.must("version"), "9.9.9", "1.2.3", "2.1.11", "origin")
	if got, want := u.must("version", "--client", "-o", "name"), "9.9.9\n"; got != want {
		t.Errorf("version %q, want %q", got, want)
	}
	f.Close()
	code, out, errOut := u.dm("version")
	if code != ExitUnavailable {
		t.Errorf("exit code %d, want %d", code, ExitUnavailable)
	}
	contains(t, "the output", out, "9.9.9")
	contains(t, "the error", errOut, "origin", "cannot be reached")
}

func TestWithoutRemotes(t *testing.T) {
	u := newUser(t)
	for _, args := range [][]string{{"list"}, {"show", "x"}, {"list", "--remote", "y"}} {
		code, _, errOut := u.dm(args...)
		if code != ExitState && code != ExitNotFound {
			t.Errorf("dm %v: exit code %d: %s", args, code, errOut)
		}
		contains(t, "the error", errOut, "dm remote add")
	}
	contains(t, "help", u.must("--help"), "Exit codes", "commit", "remote")
}
