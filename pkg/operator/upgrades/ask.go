package upgrades

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"k8s.io/apimachinery/pkg/util/version"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
)

const (
	askTimeout   = 30 * time.Second
	maxAnswer    = 64 << 10
	maxHeader    = 16 << 10
	maxRedirects = 3
	maxVersion   = 64
)

// unreleased is what a build calls itself that no release was made of.
const unreleased = "devel"

// question is all that is told of a cluster.
type question struct {
	version, storageMode, nodes string
}

// query gives the parameters of a URL with the question's own, in the place of any of
// the same names.
func (q question) query(in url.Values) string {
	in.Set("version", q.version)
	in.Set("storageMode", q.storageMode)
	in.Set("nodes", q.nodes)
	return in.Encode()
}

// roughly gives no more than the magnitude of a number of nodes.
func roughly(nodes int) string {
	switch {
	case nodes <= 2:
		return fmt.Sprint(max(nodes, 0))
	case nodes <= 5:
		return "3-5"
	case nodes <= 10:
		return "6-10"
	case nodes <= 50:
		return "11-50"
	case nodes <= 200:
		return "51-200"
	}
	return "over-200"
}

// newClient follows no redirect to another host, keeps no connection and no
// cookie, and asks for no compression, which could hide a large answer.
func newClient(transport http.RoundTripper) *http.Client {
	if transport == nil {
		transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeader,
		}
	}
	return &http.Client{Transport: transport, Timeout: askTimeout, CheckRedirect: checkRedirect}
}

func checkRedirect(next *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case next.URL.Host != first.Host || next.URL.Scheme != first.Scheme:
		return fmt.Errorf("a redirect to %s://%s, which is not followed: set upgradesUrl to where it leads, if you trust it", next.URL.Scheme, next.URL.Host)
	}
	return nil
}

// ask gives the newest version that the server knows.
func ask(ctx context.Context, client *http.Client, to config.UpgradesURL, q question) (*version.Version, error) {
	u, err := url.Parse(to.String())
	if err != nil {
		return nil, err
	}
	u.RawQuery = q.query(u.Query())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "dotmesh")
	req.Header.Set("Accept", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer's status is %d, not 200", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return parseAnswer(body)
}

// parseAnswer reads {"version": "1.2.3"}; what else it holds is for later versions.
func parseAnswer(body []byte) (*version.Version, error) {
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("the answer has over %d bytes", maxAnswer)
	}
	var answer struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("the answer is not JSON such as {\"version\": \"1.2.3\"}: %w", err)
	}
	if len(answer.Version) > maxVersion {
		return nil, errors.New("the answer's version is too long")
	}
	v, err := version.ParseSemantic(answer.Version)
	if err != nil {
		return nil, fmt.Errorf("the answer's version %q is not a semantic version", answer.Version)
	}
	return v, nil
}
