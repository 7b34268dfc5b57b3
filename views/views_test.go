package views_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"
	"github.com/a-h/templ"

	"blockconsole/views"
)

func page(t testing.TB, lang string, f *views.PageContext, body templ.Component) *goquery.Document {
	t.Helper()
	ctx := templ.WithChildren(testContext(lang, f), body)
	doc, err := goquery.NewDocumentFromReader(strings.NewReader(render(t, ctx, views.Layout(f))))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// names are the accessible names of the elements: aria-label, else the text.
func names(s *goquery.Selection) []string {
	var all []string
	s.Each(func(_ int, e *goquery.Selection) {
		name, ok := e.Attr("aria-label")
		if !ok {
			name = strings.Join(strings.Fields(e.Text()), " ")
		}
		all = append(all, name)
	})
	return all
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func snapshotList(t testing.TB, lang string, l views.List, rows []views.SnapshotRow) templ.Component {
	return views.SnapshotsPage(views.SnapshotList{List: l, Rows: renderedSnapshots(t, testContext(lang, frame()), rows)})
}

func volumeList(t testing.TB, lang string, l views.List, rows []views.VolumeRow) templ.Component {
	return views.VolumesPage(views.VolumeList{List: l, Rows: renderedVolumes(t, testContext(lang, frame()), rows)})
}

func TestLists_AccessibleNames(t *testing.T) {
	t.Parallel()
	tests := []struct {
		lang, menu            string
		volumes, snapshots    string
		volumeTools, snapTool []string
	}{
		{"ko", "주 메뉴", "Volume", "Block Snapshot", []string{"생성", "스냅샷 생성", "수정", "연결", "연결 해제", "확장", "잠금", "삭제"}, []string{"수정", "잠금", "삭제", "Volume 생성", "검증"}},
		{"en", "Main menu", "Volumes", "Block Snapshots", []string{"Create", "Create snapshot", "Edit", "Attach", "Detach", "Extend", "Lock", "Delete"}, []string{"Edit", "Lock", "Delete", "Create volume", "Verify"}},
	}
	for _, tt := range tests {
		f := frame()
		f.Active = "snapshots"
		doc := page(t, tt.lang, f, snapshotList(t, tt.lang, list(views.SnapshotsPath), snapshotRows()))
		equal(t, "language", []string{doc.Find("html").AttrOr("lang", "")}, []string{tt.lang})
		equal(t, "menu", names(doc.Find("nav#menu")), []string{tt.menu})
		equal(t, "current entry", names(doc.Find("#menu a[aria-current=page]")), []string{"Block Snapshot"})
		equal(t, "h1", names(doc.Find("h1")), []string{tt.snapshots})
		equal(t, "toolbar", names(doc.Find("main .toolbar button")), tt.snapTool)
		doc = page(t, tt.lang, f, volumeList(t, tt.lang, list(views.VolumesPath), volumeRows()))
		equal(t, "h1", names(doc.Find("h1")), []string{tt.volumes})
		equal(t, "toolbar", names(doc.Find("main .toolbar a, main .toolbar button")), tt.volumeTools)
		equal(t, "create is a link", names(doc.Find("main .toolbar a")), tt.volumeTools[:1])
	}
}

func TestToolbar_SubmitsForm(t *testing.T) {
	t.Parallel()
	doc := page(t, "ko", frame(), volumeList(t, "ko", list(views.VolumesPath), volumeRows()))
	form := doc.Find("form#rows[method=get]")
	if form.Find("table").Length() != 1 || form.Find("input[type=checkbox][name=id]").Length() != len(volumeRows()) {
		t.Error("the form does not hold the table with its checkboxes")
	}
	want := map[string]string{"스냅샷 생성": "/new-snapshot", "수정": "/edit", "연결": "/attach", "연결 해제": "/detach", "확장": "/extend", "잠금": "/lock", "삭제": "/delete"}
	doc.Find("main .toolbar button").Each(func(_ int, b *goquery.Selection) {
		name := strings.TrimSpace(b.Text())
		if b.AttrOr("form", "") != "rows" || b.AttrOr("formaction", "") != views.VolumesPath+want[name] {
			t.Errorf("%s: form %q, formaction %q", name, b.AttrOr("form", ""), b.AttrOr("formaction", ""))
		}
		if _, disabled := b.Attr("aria-disabled"); disabled {
			t.Errorf("%s is not enabled as the server sends it", name)
		}
	})
}

func TestSnapshotRows_DenialAttributes(t *testing.T) {
	t.Parallel()
	doc := page(t, "ko", frame(), snapshotList(t, "ko", list(views.SnapshotsPath), snapshotRows()))
	row := doc.Find("tr#snapshot-" + uid(4))
	equal(t, "refusal", []string{row.AttrOr("data-deny-delete", "")}, []string{"삭제할 수 없습니다. 관리자에게 문의하세요."})
	if _, denied := row.Attr("data-deny-edit"); denied {
		t.Error("editing is refused without a reason")
	}
	equal(t, "checkbox", names(doc.Find("tr#snapshot-"+uid(1)+" input")), []string{"web-data-1122-1530 선택"})
	equal(t, "empty name shows the id", names(doc.Find("tr#snapshot-"+uid(7)+" .name")), []string{uid(7)})
	equal(t, "known progress", []string{doc.Find("tr#snapshot-"+uid(2)+" [role=progressbar]").AttrOr("aria-valuenow", "")}, []string{"42"})
	if doc.Find("tr#snapshot-"+uid(3)+" time[data-since]").Length() != 1 {
		t.Error("unknown progress shows no elapsed time")
	}
	equal(t, "unknown status as it came", names(doc.Find("tr#snapshot-"+uid(9)+" .st-unknown")), []string{"BACKING-UP-SOMEWHERE-ELSE"})
}

func TestToolbar_ViewerRole(t *testing.T) {
	t.Parallel()
	f := frame()
	f.User = views.User{Name: "viewer-1", Role: "viewer"}
	doc := page(t, "ko", f, volumeList(t, "ko", list(views.VolumesPath), volumeRows()))
	tools := doc.Find("main .toolbar a, main .toolbar button")
	tools.Each(func(_ int, b *goquery.Selection) {
		why := doc.Find("#" + b.AttrOr("aria-describedby", "none")).Text()
		if b.AttrOr("aria-disabled", "") != "true" || !strings.Contains(why, "권한이 없습니다") || b.AttrOr("hx-get", "") != "" {
			t.Errorf("%s: described by %q", strings.TrimSpace(b.Text()), why)
		}
	})
	if tools.Length() != 8 || doc.Find("#menu a[href='/admin/users']").Length() != 0 {
		t.Error("the viewer's page lacks a disabled tool or shows the administrator's menu")
	}
}

func TestVolumes_BackendWithoutAttach(t *testing.T) {
	t.Parallel()
	f := frame()
	f.Attach = false
	doc := page(t, "ko", f, volumeList(t, "ko", list(views.VolumesPath), volumeRows()))
	if n := doc.Find("[data-action=attach], [data-action=detach]").Length(); n != 0 {
		t.Errorf("%d controls offer to attach", n)
	}
	doc = page(t, "ko", f, views.VolumeCreatePopup(views.VolumeCreate{Form: form("/x")}))
	if doc.Find("[name=server_id]").Length() != 0 {
		t.Error("the popup asks for a server")
	}
}

func TestSnapshotCreatePopup_AttachedVolume(t *testing.T) {
	t.Parallel()
	for lang, want := range map[string][2]string{
		"ko": {"Volume이 서버에 연결된 상태에서 Block Snapshot을 생성하면 스냅샷의 데이터가 손상될 수 있습니다.", "데이터 손상 가능성을 확인했습니다"},
		"en": {"may damage the data of the snapshot", "I understand that the data may be damaged"},
	} {
		doc := page(t, lang, frame(), views.SnapshotCreatePopup(views.SnapshotCreate{Form: formWithErrors("/x", "acknowledge"), Volume: attachedVolume()}))
		alert := doc.Find("main [role=alert].callout-caution")
		text := strings.Join(strings.Fields(alert.Text()), " ")
		if !strings.Contains(text, want[0]) || !strings.Contains(text, "db-primary, db-standby") {
			t.Errorf("%s: the alert says %q", lang, text)
		}
		tick := alert.Find("input[name=acknowledge][value='1']")
		equal(t, "tick", names(tick.Parent()), []string{want[1]})
		if tick.AttrOr("aria-invalid", "") != "true" || doc.Find("#"+tick.AttrOr("aria-describedby", "none")).Length() != 1 {
			t.Error("the missing tick is not pointed out")
		}
		quiet := page(t, lang, frame(), views.SnapshotCreatePopup(views.SnapshotCreate{Form: form("/x"), Volume: &views.VolumeBrief{ID: uid(1), Name: "free"}}))
		if quiet.Find("[role=alert]").Length() != 0 || quiet.Find("[name=acknowledge]").Length() != 0 || !strings.Contains(quiet.Find(".callout-quiet").Text(), want[0]) {
			t.Errorf("%s: a detached volume gets more than the quiet caution", lang)
		}
	}
}

func TestEditPopup_FormFields(t *testing.T) {
	t.Parallel()
	f := formWithErrors("/storage/edit", "name")
	f.Version = 7
	doc := page(t, "ko", frame(), views.EditPopup(views.Edit{Form: f, Kind: "snapshot", Name: hostile}))
	equal(t, "h1", names(doc.Find("main h1#popup-title")), []string{"Block Snapshot 수정"})
	equal(t, "buttons", names(doc.Find("main .popup-foot button")), []string{"취소", "수정"})
	for name, want := range map[string]string{"_csrf": "token", "form_key": "key", "version": "7", "return_to": f.ReturnTo} {
		equal(t, name, []string{doc.Find("main form[method=post] input[name="+name+"]").AttrOr("value", "")}, []string{want})
	}
	input := doc.Find("main input[name=name]")
	equal(t, "typed value", []string{input.AttrOr("value", "")}, []string{hostile})
	equal(t, "label", names(doc.Find("label[for="+input.AttrOr("id", "")+"]")), []string{"Block Snapshot 이름"})
	if input.AttrOr("aria-invalid", "") != "true" || input.AttrOr("pattern", "") != views.NamePattern || input.AttrOr("maxlength", "") != "" {
		t.Error("the name field lacks its rule")
	}
	equal(t, "message", names(doc.Find("#e-name")), []string{"이름은 영문과 숫자로 3Byte 이상 20Byte 이내로 작성해야 하며 특수문자는 \"-\"만 가능합니다."})
	cancel := doc.Find("form#popup-cancel")
	equal(t, "way back", []string{cancel.AttrOr("action", ""), cancel.Find("[name=status]").AttrOr("value", "")}, []string{views.SnapshotsPath, "ERROR"})
}

func TestDeletePopup_DeniedWithBlockers(t *testing.T) {
	t.Parallel()
	f := form("")
	f.Denial = &views.Denial{Reason: msg("deny.has_snapshots", "2"), Snapshots: []views.Link{{ID: uid(1), Name: "one"}}, Guidance: msg("guide.delete_snapshots")}
	doc := page(t, "ko", frame(), views.DeletePopup(views.Delete{Form: f, Kind: "volume"}))
	equal(t, "blocker", names(doc.Find("main .blockers a[href='"+views.SnapshotsPath+"/"+uid(1)+"']")), []string{"one"})
	equal(t, "buttons", names(doc.Find("main .popup-foot button")), []string{"취소"})
	if doc.Find("main form[method=post]").Length() != 0 {
		t.Error("a refused popup still has a form")
	}
}

// TestScenarios_FragmentEqualsPage checks that a fragment is the content of its page.
func TestScenarios_FragmentEqualsPage(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios() {
		f := frame()
		s.frame(f)
		ctx := testContext("ko", f)
		body := s.body(t, ctx)
		fragment := render(t, ctx, body)
		if whole := render(t, templ.WithChildren(ctx, body), views.Layout(f)); !strings.Contains(whole, fragment) {
			t.Errorf("%s: the fragment is not part of the page", s.name)
		}
		if s.popup && !strings.HasPrefix(fragment, `<div id="popup-form"`) {
			t.Errorf("%s: the fragment does not begin with #popup-form", s.name)
		}
	}
}

// TestScenarios_EscapedAndComplete renders every scenario in both languages: no data
// becomes markup, no text is missing from the catalog, no id occurs twice.
func TestScenarios_EscapedAndComplete(t *testing.T) {
	t.Parallel()
	for _, lang := range []string{"ko", "en"} {
		for _, s := range scenarios() {
			f := frame()
			s.frame(f)
			doc := page(t, lang, f, s.body(t, testContext(lang, f)))
			if doc.Find("img, script:not([src])").Length() != 0 {
				t.Errorf("%s: data became markup", s.name)
			}
			if text := doc.Text(); strings.Contains(text, "⟦") {
				t.Errorf("%s %s: a text is missing near %.80q", lang, s.name, text[strings.Index(text, "⟦"):])
			}
			ids := map[string]bool{}
			doc.Find("[id]").Each(func(_ int, e *goquery.Selection) {
				if id, _ := e.Attr("id"); ids[id] {
					t.Errorf("%s: id %q is used twice", s.name, id)
				} else {
					ids[id] = true
				}
			})
		}
	}
}

// TestLists_UniqueControlNames checks that no two controls of main have one name,
// so that screen readers and tests can tell them apart.
func TestLists_UniqueControlNames(t *testing.T) {
	t.Parallel()
	for _, s := range listScenarios() {
		f := frame()
		s.frame(f)
		doc := page(t, "ko", f, s.body(t, testContext("ko", f)))
		seen := map[string]int{}
		for _, name := range names(doc.Find("main .toolbar a, main .toolbar button, main .filters button, main .filters input:not([type=hidden]), main .filters select, main .empty a, main .chips a, main .list-foot a")) {
			seen[name]++
		}
		for name, n := range seen {
			if n > 1 {
				t.Errorf("%s: %d controls are named %q", s.name, n, name)
			}
		}
	}
}

// TestTemplates_NoInlineCode looks for what the content security policy forbids.
func TestTemplates_NoInlineCode(t *testing.T) {
	t.Parallel()
	forbidden := regexp.MustCompile(`\sstyle=|hx-on|"js:|\son[a-z]+=|<script>|hx-trigger="[^"]*\[`)
	err := fs.WalkDir(os.DirFS("."), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".templ" {
			return err
		}
		text, err := os.ReadFile(path)
		if found := forbidden.Find(text); found != nil {
			t.Errorf("%s has %q", path, found)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func BenchmarkSnapshotsPage(b *testing.B) {
	f := frame()
	ctx := testContext("ko", f)
	m := views.SnapshotList{List: list(views.SnapshotsPath), Rows: renderedSnapshots(b, ctx, snapshotRows())}
	var out bytes.Buffer
	b.ReportAllocs()
	for b.Loop() {
		out.Reset()
		if err := views.Layout(f).Render(templ.WithChildren(ctx, views.SnapshotsPage(m)), &out); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(out.Len()))
}

func BenchmarkSnapshotRow(b *testing.B) {
	ctx := testContext("ko", frame())
	row := snapshotRows()[1]
	b.ReportAllocs()
	for b.Loop() {
		render(b, ctx, views.SnapshotTableRow(row))
	}
}

func TestMessage_KeepsEveryArgument(t *testing.T) {
	for _, args := range [][]string{nil, {""}, {"a", "b", "c", "d", "e", "f"}, {"3:abc", "", "1:", "가나"}} {
		if got := views.NewMessage("key", args...).Args(); !slices.Equal(got, args) {
			t.Errorf("%q became %q", args, got)
		}
	}
	if views.NewMessage("key", "ab", "c") == views.NewMessage("key", "a", "bc") {
		t.Error("different arguments make equal messages")
	}
}
