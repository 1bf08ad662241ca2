package report

import (
	"context"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
)

const (
	// component is the source of our Events.
	component = "dotmesh-operator"

	// maxNote is what events.k8s.io allows, in bytes.
	maxNote = 1024

	// tellAgain is how long an Event that was told is not told again: what is
	// wrong is found anew every few seconds, while Events live for an hour.
	tellAgain = 20 * time.Minute

	// eventBurst and eventsPerSecond bound the Events of one object, which
	// client-go drops beyond. Its own bounds would drop most of a configuration
	// with thirty bad keys.
	eventBurst      = 100
	eventsPerSecond = 0.1
)

// Events tells people something of an object, each thing once in a while however
// often it is said. Telling does not wait for the API server.
type Events struct {
	recorder record.EventRecorder
	now      func() time.Time

	mu   sync.Mutex
	told map[event]time.Time
}

type event struct {
	kind, namespace, name, uid string
	level, reason, note        string
}

// NewEvents writes Events until ctx ends.
func NewEvents(ctx context.Context, client kubernetes.Interface, scheme *runtime.Scheme) *Events {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx), record.WithCorrelatorOptions(record.CorrelatorOptions{
		QPS:       eventsPerSecond,
		BurstSize: eventBurst,
		// Events of one reason are told apart by what they say.
		KeyFunc: func(e *corev1.Event) (string, string) {
			aggregate, local := record.EventAggregatorByReasonFunc(e)
			return aggregate + local, local
		},
	}))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	context.AfterFunc(ctx, broadcaster.Shutdown)
	return newEvents(broadcaster.NewRecorder(scheme, corev1.EventSource{Component: component}), time.Now)
}

func newEvents(recorder record.EventRecorder, now func() time.Time) *Events {
	return &Events{recorder: recorder, now: now, told: map[event]time.Time{}}
}

// Warning tells of what somebody should act on.
func (e *Events) Warning(on *corev1.ObjectReference, reason, note string) {
	e.tell(on, corev1.EventTypeWarning, reason, note)
}

// Normal tells of what happened as it should.
func (e *Events) Normal(on *corev1.ObjectReference, reason, note string) {
	e.tell(on, corev1.EventTypeNormal, reason, note)
}

func (e *Events) tell(on *corev1.ObjectReference, level, reason, note string) {
	note = clip(note)
	if e.isNew(event{on.Kind, on.Namespace, on.Name, string(on.UID), level, reason, note}) {
		e.recorder.Event(on, level, reason, note)
	}
}

func (e *Events) isNew(ev event) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	for old, at := range e.told {
		if now.Sub(at) >= tellAgain {
			delete(e.told, old)
		}
	}
	if _, told := e.told[ev]; told {
		return false
	}
	e.told[ev] = now
	return true
}

// clip cuts a note to what an Event holds, between two characters.
func clip(note string) string {
	const more = "…"
	note = strings.ToValidUTF8(note, "�")
	if len(note) <= maxNote {
		return note
	}
	cut := maxNote - len(more)
	for !utf8.RuneStart(note[cut]) {
		cut--
	}
	return note[:cut] + more
}
