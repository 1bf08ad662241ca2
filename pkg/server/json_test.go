package server

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"testing"
	"time"
)

// TestAPISpeaksJSON: whoever has no client of ours calls the API with curl.
func TestAPISpeaksJSON(t *testing.T) {
	address, _ := starting(t)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	c := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+address+"/dotmesh.v1.ServerService/GetStatus", bytes.NewBufferString("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.SetBasicAuth("admin", testKey)
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var status map[string]any
	if err := json.NewDecoder(res.Body).Decode(&status); err != nil || res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %d, %q, %v", res.StatusCode, res.Header.Get("Content-Type"), err)
	}
	if len(status) == 0 {
		t.Error("the answer tells nothing")
	}
}
