package zfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func header(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "stream", name+".hdr"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseStreamHeader(t *testing.T) {
	full, err := ParseStreamHeader(header(t, "full.s1"))
	if err != nil || full.FromGUID != 0 || full.ToGUID == 0 || full.ToName != "capt/fs@s1" || full.CreationTime.Year() < 2020 {
		t.Errorf("full: %+v, %v", full, err)
	}
	increment, err := ParseStreamHeader(header(t, "inc.s3"))
	if err != nil || increment.FromGUID != full.ToGUID || increment.ToName != "capt/fs@s3" {
		t.Errorf("increment: %+v, %v", increment, err)
	}
	bookmark, err := ParseStreamHeader(header(t, "bm.s3"))
	if err != nil || bookmark.FromGUID != full.ToGUID || bookmark.ToGUID != increment.ToGUID {
		t.Errorf("from a bookmark: %+v, %v", bookmark, err)
	}
	raw, err := ParseStreamHeader(header(t, "wLce.s3"))
	if err != nil || raw.Features&StreamCompressed == 0 || raw.Features&StreamLZ4 == 0 {
		t.Errorf("compressed: %+v, %v", raw, err)
	}
	resumed, err := ParseStreamHeader(header(t, "resume"))
	if err != nil || resumed.Features&StreamResuming == 0 || resumed.ToGUID != increment.ToGUID {
		t.Errorf("resumed: %+v, %v", resumed, err)
	}
	for _, compound := range []string{"R.s3", "p.s3"} {
		if _, err := ParseStreamHeader(header(t, compound)); !errors.Is(err, ErrStreamInvalid) {
			t.Errorf("%s: %v", compound, err)
		}
	}
}

func TestStreamHeaderRefusals(t *testing.T) {
	good := header(t, "full.s1")
	le := binary.LittleEndian
	for name, change := range map[string]func(b []byte){
		"magic":          func(b []byte) { b[offMagic]++ },
		"record":         func(b []byte) { le.PutUint32(b, 3) },
		"volume":         func(b []byte) { le.PutUint32(b[offType:], 3) },
		"no to-GUID":     func(b []byte) { le.PutUint64(b[offToGUID:], 0) },
		"dedup":          func(b []byte) { b[offVersion] |= 1 << 2 },
		"redacted":       func(b []byte) { b[offVersion+2] |= 1 << 7 },
		"version bits":   func(b []byte) { b[offVersion+5] = 1 },
		"flags":          func(b []byte) { b[offFlags+1] = 1 },
		"payload":        func(b []byte) { b[4] = 8 },
		"endless name":   func(b []byte) { copy(b[offToName:], bytes.Repeat([]byte("x"), 256)) },
		"compound":       func(b []byte) { b[offVersion] = b[offVersion]&^3 | headerCompound },
		"unknown header": func(b []byte) { b[offVersion] |= 3 },
	} {
		b := bytes.Clone(good)
		change(b)
		if _, err := ParseStreamHeader(b); !errors.Is(err, ErrStreamInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseStreamHeader(good[:311]); !errors.Is(err, ErrStreamIncomplete) {
		t.Errorf("short: %v", err)
	}
}

func TestStreamHeaderOfTheOtherByteOrder(t *testing.T) {
	b := make([]byte, StreamHeaderSize)
	be := binary.BigEndian
	be.PutUint64(b[offMagic:], streamMagic)
	be.PutUint64(b[offVersion:], headerSub)
	be.PutUint32(b[offType:], objsetZFS)
	be.PutUint64(b[offToGUID:], 7)
	copy(b[offToName:], "p@s")
	if h, err := ParseStreamHeader(b); err != nil || !h.BigEndian || h.ToGUID != 7 {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestPeekStreamHeaderYieldsTheWholeStream(t *testing.T) {
	stream := append(header(t, "full.s1"), "and the rest"...)
	_, r, err := PeekStreamHeader(bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, stream) {
		t.Errorf("%d bytes, %v; want %d", len(got), err, len(stream))
	}
	if _, _, err := PeekStreamHeader(bytes.NewReader(nil)); !errors.Is(err, ErrStreamIncomplete) {
		t.Errorf("empty: %v", err)
	}
	if _, _, err := PeekStreamHeader(closedReader{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("broken: %v", err)
	}
}

type closedReader struct{}

func (closedReader) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

func FuzzParseStreamHeader(f *testing.F) {
	for _, name := range []string{"full.s1", "inc.s3", "R.s3", "wLce.s3", "resume"} {
		f.Add(header(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseStreamHeader(b)
		if err == nil && (h.ToGUID == 0 || h.Features&^acceptable != 0 || len(h.ToName) > 255) {
			t.Errorf("accepted %+v", h)
		}
	})
}
