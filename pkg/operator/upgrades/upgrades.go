package upgrades

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
)

const (
	// look is how soon a changed configuration is seen.
	look = 10 * time.Second
	// retry is when the server is asked again that gave no good answer, unless the
	// interval is shorter.
	retry = 10 * time.Minute
)

// Config says what a Checker asks with and whom it tells.
type Config struct {
	// Version is that of the operator. One that is no semantic version is not
	// released, and older than any that is.
	Version string
	// Current is the configuration that holds; false while none was read.
	Current func() (config.Config, bool)
	// Nodes counts those with a server.
	Nodes func() int
	// Changed is told the newer version, "" when none is known; not before the first
	// good answer, but at once where nobody is to be asked. It is told again until it
	// gives no error.
	Changed func(ctx context.Context, newer string) error
	// Transport is nil but in tests.
	Transport http.RoundTripper
}

// Checker asks, and is a prometheus.Collector of what it knows.
type Checker struct {
	cfg    Config
	client *http.Client

	// These belong to the goroutine of Start.
	url   config.UpgradesURL
	asked time.Time // zero: not yet at this URL
	known bool      // newer was learnt
	told  bool      // and Changed knows it

	mu     sync.Mutex
	newer  string
	failed bool // at the last question
}

// New makes a Checker that asks nobody before Start.
func New(cfg Config) *Checker { return &Checker{cfg: cfg, client: newClient(cfg.Transport)} }

// Start asks until ctx ends. It makes a Checker a manager.Runnable of
// controller-runtime, which runs it on the leader only.
func (c *Checker) Start(ctx context.Context) error {
	again := time.NewTicker(look)
	defer again.Stop()
	for {
		c.step(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
	}
}

// step asks if it is time to, and tells what is new.
func (c *Checker) step(ctx context.Context) {
	cfg, known := c.cfg.Current()
	if !known {
		return
	}
	if cfg.UpgradesURL != c.url {
		c.url, c.asked = cfg.UpgradesURL, time.Time{}
		c.note(false)
	}
	switch {
	case c.url.IsZero():
		c.learn("")
	case c.due(cfg.UpgradesInterval):
		c.ask(ctx, cfg)
	}
	if !c.known || c.told {
		return
	}
	if err := c.cfg.Changed(ctx, c.newer); err != nil {
		klog.FromContext(ctx).Error(err, "the newer version could not be told", "version", c.newer)
		return
	}
	c.told = true
}

func (c *Checker) due(interval time.Duration) bool {
	if c.failed {
		interval = min(interval, retry)
	}
	return c.asked.IsZero() || time.Since(c.asked) >= interval
}

func (c *Checker) ask(ctx context.Context, cfg config.Config) {
	q := question{version: unreleased, storageMode: cfg.StorageMode.String(), nodes: roughly(c.cfg.Nodes())}
	ours, err := version.ParseSemantic(c.cfg.Version)
	if err == nil {
		q.version = ours.String()
	}
	offered, err := ask(ctx, c.client, c.url, q)
	if ctx.Err() != nil {
		return
	}
	c.asked = time.Now()
	c.note(err != nil)
	switch {
	case err != nil:
		klog.FromContext(ctx).Error(err, "no newer version could be asked for", "key", "upgradesUrl")
	case ours != nil && !ours.LessThan(offered):
		c.learn("")
	default:
		c.learn(offered.String())
	}
}

func (c *Checker) note(failed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = failed
}

func (c *Checker) learn(newer string) {
	if c.known && newer == c.newer {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.newer, c.known, c.told = newer, true, false
}

// descriptions are of the metrics.
func descriptions() (newer, failed *prometheus.Desc) {
	return prometheus.NewDesc("dotmesh_operator_newer_version", "A newer version of dotmesh, that of the label; none while there is none.", []string{"version"}, nil),
		prometheus.NewDesc("dotmesh_operator_upgrades_failed", "Whether the last question for a newer version had no good answer.", nil, nil)
}

// Describe implements prometheus.Collector.
func (c *Checker) Describe(to chan<- *prometheus.Desc) {
	newer, failed := descriptions()
	to <- newer
	to <- failed
}

// Collect implements prometheus.Collector.
func (c *Checker) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	newer, failed := descriptions()
	value := 0.0
	if c.failed {
		value = 1
	}
	to <- prometheus.MustNewConstMetric(failed, prometheus.GaugeValue, value)
	if c.newer != "" {
		to <- prometheus.MustNewConstMetric(newer, prometheus.GaugeValue, 1, c.newer)
	}
}
