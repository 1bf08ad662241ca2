package embedded

import (
	"context"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
)

// logger gives etcd a logger that writes warnings and worse to klog: of a single
// server its other lines tell nothing.
func logger(ctx context.Context) *zap.Logger {
	return zap.New(core{LevelEnabler: zapcore.WarnLevel, to: klog.FromContext(ctx).WithName("etcd")})
}

// core is a zapcore.Core on a klog.Logger.
type core struct {
	zapcore.LevelEnabler
	to     klog.Logger
	fields []zapcore.Field
}

// With implements zapcore.Core.
func (c core) With(fields []zapcore.Field) zapcore.Core {
	c.fields = append(c.fields[:len(c.fields):len(c.fields)], fields...)
	return c
}

// Check implements zapcore.Core.
func (c core) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
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
		c.to.Info(e.Message, pairs...)
	}
	return nil
}

// Sync implements zapcore.Core.
func (c core) Sync() error { return nil }
