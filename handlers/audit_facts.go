package handlers

import (
	"encoding/json"
	"strconv"
	"strings"

	"blockconsole/models"
	"blockconsole/views"
)

// auditFacts are what an audit line tells beside who, when and of what. The
// arguments of an operation are kept as JSON, other lines hold one word.
func auditFacts(e *models.AuditEntry) []views.AuditFact {
	var p models.Params
	switch {
	case e.Detail == "":
		return nil
	case !strings.HasPrefix(e.Detail, "{") || json.Unmarshal([]byte(e.Detail), &p) != nil:
		return []views.AuditFact{{Value: auditWord(e), Text: e.Detail}}
	}
	var f facts
	f.changed("column.name", p.OldName, p.Name)
	f.changed("field.description", p.OldDescription, p.Description)
	if p.SizeGiB > 0 {
		f.say("column.size", views.Message{Key: "audit.gib", Args: [4]string{strconv.Itoa(p.SizeGiB)}})
	}
	f.object("Volume", "volume", p.VolumeID)
	f.object("Block Snapshot", "snapshot", p.SnapshotID)
	f.text("field.image", p.ImageID)
	f.text("field.server", p.ServerID)
	f.text("field.reason", p.Reason)
	f.text("audit.was", string(p.PriorStatus))
	f.text("field.reset_to", string(p.ResetTo))
	f.yes("audit.forced", p.Force)
	f.yes("audit.attached", p.Attached)
	f.yes("audit.acknowledged", p.Acknowledged)
	return f
}

// auditWord is the text of a line's one word, where the catalog has one.
func auditWord(e *models.AuditEntry) views.Message {
	switch {
	case strings.HasPrefix(e.Action, "user."):
		return views.Message{Key: "audit.role", Args: [4]string{e.Detail}}
	case strings.HasPrefix(e.Action, "operation."):
		return views.Message{Key: "audit.kind", Args: [4]string{e.Detail}}
	}
	return views.Message{}
}

type facts []views.AuditFact

func (f *facts) add(fact views.AuditFact) { *f = append(*f, fact) }

func (f *facts) say(name string, value views.Message) {
	f.add(views.AuditFact{Name: views.Message{Key: name}, Value: value})
}

func (f *facts) text(name, text string) {
	if text != "" {
		f.add(views.AuditFact{Name: views.Message{Key: name}, Text: text})
	}
}

func (f *facts) yes(name string, is bool) {
	if is {
		f.say(name, views.Message{Key: "audit.yes"})
	}
}

// object is a link; what kind of object it is about is a product noun.
func (f *facts) object(noun, kind, id string) {
	if id != "" {
		f.add(views.AuditFact{Name: views.Message{Key: "audit.noun", Args: [4]string{noun}}, Text: id, Kind: kind})
	}
}

// changed is what became of a text: that it was set, or from what to what.
func (f *facts) changed(name, from, to string) {
	if from == to || from == "" {
		f.text(name, to)
		return
	}
	f.say(name, views.Message{Key: "audit.changed", Args: [4]string{from, to}})
}
