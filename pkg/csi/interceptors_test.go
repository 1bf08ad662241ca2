package csi

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/go-logr/logr/funcr"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// scripted is a controller service whose CreateVolume does what a test says.
type scripted struct {
	csi.UnimplementedControllerServer
	create func(context.Context) error
}

func (s *scripted) CreateVolume(ctx context.Context, _ *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	return &csi.CreateVolumeResponse{}, s.create(ctx)
}

func (s *scripted) DeleteVolume(context.Context, *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	return &csi.DeleteVolumeResponse{}, nil
}

func (s *scripted) ListVolumes(context.Context, *csi.ListVolumesRequest) (*csi.ListVolumesResponse, error) {
	return &csi.ListVolumesResponse{}, nil
}

type recorder struct {
	mu   sync.Mutex
	seen []string
}

func (r *recorder) RecordMetrics(operation string, err error, _ time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, operation+" "+status.Code(err).String())
}

func serve(t *testing.T, timeout time.Duration, s *scripted) (csi.ControllerClient, *recorder) {
	t.Helper()
	metrics := &recorder{}
	server := NewServer(metrics, timeout)
	csi.RegisterControllerServer(server, s)
	socket := t.TempDir() + "/s"
	l, err := Listen(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(l)
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return csi.NewControllerClient(conn), metrics
}

func TestErrorsGetTheirCodeAndAreMeasured(t *testing.T) {
	c, metrics := serve(t, 0, &scripted{create: func(context.Context) error { return dot.Precondition("not on this node") }})
	_, err := c.CreateVolume(t.Context(), &csi.CreateVolumeRequest{Name: "v"})
	if got := status.Convert(err); got.Code() != codes.FailedPrecondition || got.Message() != "not on this node" {
		t.Errorf("got %v", got)
	}
	if len(metrics.seen) != 1 || metrics.seen[0] != "/csi.v1.Controller/CreateVolume FailedPrecondition" {
		t.Errorf("got metrics %v", metrics.seen)
	}
}

func TestPanicIsAnInternalError(t *testing.T) {
	s := &scripted{create: func(context.Context) error { panic("oh") }}
	c, _ := serve(t, 0, s)
	_, err := c.CreateVolume(t.Context(), &csi.CreateVolumeRequest{Name: "v"})
	if got := status.Code(err); got != codes.Internal {
		t.Errorf("got %s, want Internal", got)
	}
	s.create = func(context.Context) error { return nil }
	if _, err := c.CreateVolume(t.Context(), &csi.CreateVolumeRequest{Name: "v"}); err != nil {
		t.Errorf("the next call failed, so the panic kept the lock: %v", err)
	}
}

func TestSecondCallOnAVolumeIsAborted(t *testing.T) {
	started, finish := make(chan struct{}), make(chan struct{})
	c, _ := serve(t, 0, &scripted{create: func(context.Context) error {
		close(started)
		<-finish
		return nil
	}})
	first := make(chan error, 1)
	go func() {
		_, err := c.CreateVolume(t.Context(), &csi.CreateVolumeRequest{Name: "v"})
		first <- err
	}()
	<-started
	id := dot.VolumeIDOf("v").String()
	for name, call := range map[string]func() error{
		"create": func() error {
			_, err := c.CreateVolume(t.Context(), &csi.CreateVolumeRequest{Name: "v"})
			return err
		},
		"delete": func() error {
			_, err := c.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: id})
			return err
		},
	} {
		if got := status.Code(call()); got != codes.Aborted {
			t.Errorf("a second call, %s: got %s, want Aborted", name, got)
		}
	}
	if _, err := c.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: "other"}); err != nil {
		t.Errorf("a call on another volume: %v", err)
	}
	if _, err := c.ListVolumes(t.Context(), &csi.ListVolumesRequest{}); err != nil {
		t.Errorf("a call that only reads: %v", err)
	}
	close(finish)
	if err := <-first; err != nil {
		t.Errorf("the first call: %v", err)
	}
	if _, err := c.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: id}); err != nil {
		t.Errorf("a call after the first was over: %v", err)
	}
}

func TestNextCallMayFollowAtOnce(t *testing.T) {
	c, _ := serve(t, 0, &scripted{create: func(context.Context) error { return nil }})
	for range 500 {
		if _, err := c.CreateVolume(t.Context(), &csi.CreateVolumeRequest{Name: "v"}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCallWithoutDeadlineIsBounded(t *testing.T) {
	c, _ := serve(t, 50*time.Millisecond, &scripted{create: func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}})
	_, err := c.CreateVolume(t.Context(), &csi.CreateVolumeRequest{Name: "v"})
	if got := status.Code(err); got != codes.DeadlineExceeded {
		t.Errorf("got %s, want DeadlineExceeded", got)
	}
}

func TestHangingCallIsAnsweredAndKeepsItsLock(t *testing.T) {
	finish, over := make(chan struct{}), make(chan struct{})
	c, _ := serve(t, 50*time.Millisecond, &scripted{create: func(context.Context) error {
		<-finish // as a system call does, which no context ends
		close(over)
		return nil
	}})
	_, err := c.CreateVolume(t.Context(), &csi.CreateVolumeRequest{Name: "v"})
	if got := status.Code(err); got != codes.DeadlineExceeded {
		t.Errorf("got %s, want DeadlineExceeded", got)
	}
	id := dot.VolumeIDOf("v").String()
	_, err = c.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: id})
	if got := status.Code(err); got != codes.Aborted {
		t.Errorf("while it hangs: got %s, want Aborted", got)
	}
	close(finish)
	<-over
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		_, err = c.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: id})
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after it was over: %v", err)
		}
	}
}

func TestLogTellsNoSecrets(t *testing.T) {
	var lines []string
	logger := funcr.New(func(prefix, args string) { lines = append(lines, args) }, funcr.Options{Verbosity: 9})
	ctx := klog.NewContext(t.Context(), logger)
	req := &csi.CreateVolumeRequest{Name: "the-volume", Secrets: map[string]string{"password": "hunter2"}}
	for _, fail := range []error{nil, status.Error(codes.NotFound, "no")} {
		_, _ = logged()(ctx, req, &grpc.UnaryServerInfo{FullMethod: "/csi.v1.Controller/CreateVolume"}, func(context.Context, any) (any, error) {
			return &csi.CreateVolumeResponse{}, fail
		})
	}
	all := strings.Join(lines, "\n")
	if strings.Contains(all, "hunter2") {
		t.Errorf("the log tells a secret:\n%s", all)
	}
	for _, want := range []string{"the-volume", `"call"="CreateVolume"`, `"request"=1`, "NotFound"} {
		if !strings.Contains(all, want) {
			t.Errorf("the log does not tell %s:\n%s", want, all)
		}
	}
}

func TestListenReplacesOnlySockets(t *testing.T) {
	path := t.TempDir() + "/below/s"
	first, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatalf("a socket of an earlier process was in the way: %v", err)
	}
	defer second.Close()
	first.Close()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("closing the first listener took the second's socket: %v", err)
	}
	conn.Close()
	checkPrivate(t, path)

	file := t.TempDir() + "/file"
	writeFile(t, file)
	if l, err := Listen(t.Context(), file); err == nil {
		l.Close()
		t.Error("a file was replaced by a socket")
	}
}

func TestServeLetsCallsFinish(t *testing.T) {
	started := make(chan struct{})
	server := NewServer(nil, 0)
	csi.RegisterControllerServer(server, &scripted{create: func(context.Context) error {
		close(started)
		time.Sleep(100 * time.Millisecond)
		return nil
	}})
	socket := t.TempDir() + "/s"
	l, err := Listen(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, server, l) }()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	called := make(chan error, 1)
	go func() {
		_, err := csi.NewControllerClient(conn).CreateVolume(t.Context(), &csi.CreateVolumeRequest{Name: "v"})
		called <- err
	}()
	<-started
	stop()
	if err := <-called; err != nil {
		t.Errorf("a call under way when the server stopped: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("got %v, want a clean stop", err)
	}
}
