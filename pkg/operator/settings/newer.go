package settings

import (
	"context"
	"fmt"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// newerVersion is the key that servers read, beside the configuration's own.
const newerVersion = "newerVersion"

// SetNewerVersion tells the servers of a version that can be had; "" takes it back.
// It fails where there is no configuration in force yet, or somebody changed the
// ConfigMap meanwhile.
func (s *Settings) SetNewerVersion(ctx context.Context, newer string) error {
	leave, err := s.gate.write(ctx)
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	kept, err := s.read(ctx, specs.SettingsName)
	if err != nil {
		return err
	}
	if kept == nil {
		return fmt.Errorf("ConfigMap %s does not exist yet", specs.SettingsName)
	}
	if kept.Data[newerVersion] == newer {
		return nil
	}
	switch {
	case newer == "":
		delete(kept.Data, newerVersion)
	case kept.Data == nil:
		kept.Data = map[string]string{newerVersion: newer}
	default:
		kept.Data[newerVersion] = newer
	}
	if err := s.cfg.Client.Update(ctx, kept); err != nil {
		return fmt.Errorf("update ConfigMap %s: %w", specs.SettingsName, err)
	}
	if newer != "" {
		s.cfg.Events.Normal(specs.ConfigMapReference(kept), reasonNewer, fmt.Sprintf("version %s of dotmesh can be had", newer))
	}
	return nil
}
