//go:build zfs

package server_test

import (
	"context"
	"testing"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// call makes one call with a deadline.
func call[Q, R any](f func(context.Context, *connect.Request[Q]) (*connect.Response[R], error), msg *Q) (*R, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	res, err := f(ctx, connect.NewRequest(msg))
	if err != nil {
		return nil, err
	}
	return res.Msg, nil
}

// must makes one call that has to succeed.
func must[Q, R any](t *testing.T, f func(context.Context, *connect.Request[Q]) (*connect.Response[R], error), msg *Q) *R {
	t.Helper()
	res, err := call(f, msg)
	if err != nil {
		t.Fatalf("%T: %v", msg, err)
	}
	return res
}

func pvc(name string) *v1.CreateVolumeRequest {
	return &v1.CreateVolumeRequest{CsiName: "pvc-" + name, RequiredBytes: 64 << 20, KubernetesNamespace: "default", PvcName: name, PvcUid: "0f0f0f0f-" + name}
}

func volumeID(name string) string { return dot.VolumeIDOf("pvc-" + name).String() }

// part is a claim on a subdot of the dot "shared".
func part(name, subdot string) *v1.CreateVolumeRequest {
	req := pvc(name)
	req.DotName, req.Subdot = "shared", subdot
	return req
}
