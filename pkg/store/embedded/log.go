package embedded

import (
	"context"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
)

// logger gives etcd a logger that writes errors to klog, and warnings where they
// are asked for: of a single server its other lines tell nothing. While it is
// closing it calls every closed socket an error, so then nothing is written.
func logger(ctx context.Context, closing *atomic.Bool) *zap.Logger {
	return zap.New(core{LevelEnabler: zapcore.WarnLevel, to: klog.FromContext(ctx).WithName("etcd"), closing: closing})
}

// core is a zapcore.Core on a klog.Logger.
type core struct {
	zapcore.LevelEnabler
	to      klog.Logger
	fields  []zapcore.Field
	closing *atomic.Bool
}

// With implements zapcore.Core.
func (c core) With(fields []zapcore.Field) zapcore.Core {
	c.fields = append(c.fields[:len(c.fields):len(c.fields)], fields...)
	return c
}

// Check implements zapcore.Core.
func (c core) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) && !c.closing.Load() {
		return checked.AddCore(e, c)
	}
	return checked
}

// Write implements zapcore.Core.
func (c core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	encoded := zapcore.NewMapObjectEncoder()
	for _, f := range append(c.fields[:len(c.fields):len(c.fields)], fields...) {
		f.AddTo(encoded)
	}
	var pairs []any
	for k, v := range encoded.Fields {
		pairs = append(pairs, k, v)
	}
	if e.Level >= zapcore.ErrorLevel {
		c.to.Error(nil, e.Message, pairs...)
	} else {
		c.to.V(2).Info(e.Message, pairs...)
	}
	return nil
}

// Sync implements zapcore.Core.
func (c core) Sync() error { return nil }
