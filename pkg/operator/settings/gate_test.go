package settings

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
)

// errUnread is what an API server answers that can be reached in time.
var errUnread = errors.New("no ConfigMap can be read in this test")

type unread struct{ client.Reader }

func (unread) Get(ctx context.Context, _ client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return errUnread
}

// inUse are Settings in a round that uses them until end is called.
func inUse(t *testing.T) (s *Settings, end func()) {
	t.Helper()
	c, _, err := config.Parse(map[string]string{"replicas": "5"})
	if err != nil {
		t.Fatal(err)
	}
	s = New(Config{Live: unread{}})
	s.latest.Store(&state{inForce: &c, refused: []config.Remark{{Key: "replicas"}}, missing: true})
	ended := make(chan struct{})
	go func() {
		_ = s.Use(t.Context(), func(config.Config) error {
			<-ended
			return nil
		})
	}()
	synctest.Wait()
	return s, func() { close(ended) }
}

// reconcileBeside starts a look at the ConfigMaps, and returns when that waits.
func reconcileBeside(ctx context.Context, s *Settings) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := s.Reconcile(ctx, reconcile.Request{})
		done <- err
	}()
	synctest.Wait()
	return done
}

func TestReadersWaitForNoRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, end := inUse(t)
		done := reconcileBeside(t.Context(), s)
		if c, known := s.InForce(); !known || c.Data()["replicas"] != "5" {
			t.Errorf("in force is %v, %v", c.Data(), known)
		}
		if got := s.Refused(); len(got) != 1 || got[0].Key != "replicas" {
			t.Errorf("refused are %v", got)
		}
		if !s.Missing() {
			t.Error("the ConfigMap is not missing")
		}
		if len(done) > 0 {
			t.Error("a look at the ConfigMaps did not wait for the round")
		}
		end()
		<-done
	})
}

func TestTimeBeginsAfterTheRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, end := inUse(t)
		done := reconcileBeside(t.Context(), s)
		time.Sleep(2 * callTimeout)
		end()
		if err := <-done; !errors.Is(err, errUnread) {
			t.Errorf("after a long round: %v, want the API server to be asked", err)
		}
	})
}

func TestWaitEndsWithTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, end := inUse(t)
		defer end()
		ctx, cancel := context.WithCancel(t.Context())
		done := reconcileBeside(ctx, s)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("a process that ends: %v", err)
		}
	})
}
