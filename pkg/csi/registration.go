package csi

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/grpc"
	"k8s.io/klog/v2"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// specVersion is what kubelet checks for: the newest major version of CSI that
// the node service speaks.
const specVersion = "1.0.0"

// Registration tells kubelet of the node service. Kubelet finds its socket in
// the directory plugins_registry, asks, connects to the endpoint, and tells how
// it went; it asks again whenever the socket is made anew.
type Registration struct {
	registration.UnimplementedRegistrationServer
	endpoint string

	mu  sync.Mutex
	err error // guarded by mu; nil once kubelet accepted
}

var errNotRegistered = errors.New("kubelet has not asked for the driver yet")

// NewRegistration is for a node service at the unix socket endpoint.
func NewRegistration(endpoint string) *Registration {
	return &Registration{endpoint: endpoint, err: errNotRegistered}
}

// Server serves the registration.
func (r *Registration) Server() *grpc.Server {
	s := grpc.NewServer()
	registration.RegisterRegistrationServer(s, r)
	return s
}

// GetInfo says who we are and where.
func (r *Registration) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type:              registration.CSIPlugin,
		Name:              DriverName,
		Endpoint:          r.endpoint,
		SupportedVersions: []string{specVersion},
	}, nil
}

// NotifyRegistrationStatus hears what kubelet made of it. Kubelet tries again by
// itself after a failure.
func (r *Registration) NotifyRegistrationStatus(ctx context.Context, s *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = nil
	if !s.GetPluginRegistered() {
		r.err = errors.New("kubelet refused the driver: " + s.GetError())
	}
	klog.FromContext(ctx).Info("kubelet answered the registration", "registered", s.GetPluginRegistered(), "reason", s.GetError())
	return &registration.RegistrationStatusResponse{}, nil
}

// Ready tells whether kubelet has accepted the driver.
func (r *Registration) Ready(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}
