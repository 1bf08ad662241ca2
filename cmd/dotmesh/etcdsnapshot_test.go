package main

import (
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
)

func TestEtcdSnapshotReadsItsFilesEachTime(t *testing.T) {
	dir := t.TempDir() + "/certs"
	made, err := pki.Bundle(pki.BundleConfig{Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	own := dir + "/" + pki.SecretEtcdServer + "/"
	o := etcdTLS{ca: own + pki.CAFile, cert: own + pki.CertFile, key: own + pki.KeyFile}
	if _, err := o.read(); err == nil {
		t.Error("files that are not there were read")
	}
	if err := made.WriteDir(dir); err != nil {
		t.Fatal(err)
	}
	if cfg, err := o.read(); err != nil || len(cfg.Certificates) != 1 {
		t.Errorf("got %v", err)
	}
}
