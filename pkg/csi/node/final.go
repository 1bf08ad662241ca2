package node

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	driver "github.com/dotmesh-io/dotmesh-csi/pkg/csi"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// A call that ends with certain codes, kubelet takes for one that left nothing
// behind: it forgets a mount that was uncertain until then, and never has it
// unmounted (markDeviceErrorState and markVolumeErrorState in kubelet's
// operation_generator.go). An earlier call may have mounted all the same, when it
// was cut short. So while something is mounted no such code is answered.

// isFinal tells whether kubelet takes an error so: isFinalError in kubelet's
// pkg/volume/csi/csi_client.go.
func isFinal(err error) bool {
	if err == nil {
		return false
	}
	switch status.Code(driver.ToStatus(err)) {
	case codes.Canceled, codes.DeadlineExceeded, codes.Unavailable, codes.ResourceExhausted, codes.Aborted:
		return false
	}
	return true
}

// unstaged gives what NodeStageVolume answers for an error: a final one once
// nothing is staged.
func (s *service) unstaged(ctx context.Context, head string, err error) error {
	if !isFinal(err) {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	left := s.unmount(ctx, head)
	if left == nil {
		left = s.passing(ctx, removeStaging, func() error { return remove(head) })
	}
	if left != nil {
		return dot.Unavailable("%w", errors.Join(err, fmt.Errorf("undo what was staged: %w", left)))
	}
	return err
}

// unpublished gives what NodePublishVolume answers for an error: none that is
// final while something is mounted at target. That is left there, because after
// its own restart kubelet asks to publish again for pods that run. CodeExists
// says itself that the volume is published, and kubelet, which asks for one
// target in one way only, never meets it.
func unpublished(target string, err error) error {
	if !isFinal(err) || dot.CodeOf(err) == dot.CodeExists {
		return err
	}
	at, unknown := mountedAt(target)
	if at == nil && unknown == nil {
		return err
	}
	return dot.Unavailable("%w", errors.Join(err, unknown))
}
