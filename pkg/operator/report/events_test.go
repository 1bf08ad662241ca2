package report

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
)

func TestEventsAreToldOnceInAWhile(t *testing.T) {
	recorder, now := record.NewFakeRecorder(10), time.Unix(0, 0)
	events := newEvents(recorder, func() time.Time { return now })
	a, b := &corev1.ObjectReference{Kind: "Node", Name: "a"}, &corev1.ObjectReference{Kind: "Node", Name: "b"}
	for range 3 {
		events.Warning(a, "PoolInUse", "pod x uses it")
	}
	events.Warning(a, "PoolInUse", "pod y uses it")
	events.Warning(b, "PoolInUse", "pod x uses it")
	if got := len(recorder.Events); got != 3 {
		t.Errorf("got %d Events, want one for each object and note", got)
	}
	now = now.Add(tellAgain)
	events.Warning(a, "PoolInUse", "pod x uses it")
	if got := len(recorder.Events); got != 4 {
		t.Errorf("got %d Events, want it told again after %v", got, tellAgain)
	}
}

func TestNotesFitAnEvent(t *testing.T) {
	for _, note := range []string{"", "short", strings.Repeat("a", maxNote), strings.Repeat("a", maxNote+1), strings.Repeat("ä", maxNote), "a" + strings.Repeat("ä", maxNote), "\xff" + strings.Repeat("€", maxNote)} {
		got := clip(note)
		if len(got) > maxNote || !utf8.ValidString(got) {
			t.Errorf("%.20q…: %d bytes, valid UTF-8: %v", note, len(got), utf8.ValidString(got))
		}
		if len(note) <= maxNote && got != note {
			t.Errorf("%.20q was cut to %.20q", note, got)
		}
	}
}
