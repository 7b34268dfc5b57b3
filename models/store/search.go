package store

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"blockconsole/models"
)

func isID(text string) bool {
	return len(text) == 36 && uuid.Validate(text) == nil
}

// searchClause returns a condition for a part of the name or a full id, which uses an
// index of the names' grams. A common text is compared with each name instead: walking
// the list in its order meets matches often, and sorting all of them would be slower.
func (s *Store) searchClause(t table, text string, common bool) (string, []any) {
	var nameClause string
	var args []any
	switch {
	case common && s.postgres:
		return "strpos(fold_name(t.name), fold_name(?)) > 0", []any{text}
	case common:
		return "instr(fold_name(t.name), ?) > 0", []any{foldName(text)}
	case s.postgres:
		nameClause, args = "name_grams(t.name) @> text_grams(?) AND strpos(fold_name(t.name), fold_name(?)) > 0", []any{text, text}
	default:
		index, match := ftsMatch(t, text)
		nameClause, args = fmt.Sprintf("t.num IN (SELECT rowid FROM %s WHERE %s MATCH ?)", index, index), []any{match}
	}
	if !isID(text) {
		return nameClause, args
	}
	if s.postgres {
		nameClause = fmt.Sprintf("SELECT t.num FROM %s t WHERE %s", t.name, nameClause)
	} else {
		index, _ := ftsMatch(t, text)
		nameClause = fmt.Sprintf("SELECT rowid FROM %s WHERE %s MATCH ?", index, index)
	}
	id := strings.ToLower(text)
	return fmt.Sprintf(`t.num IN (SELECT num FROM %[1]s WHERE id = ?
		UNION ALL SELECT num FROM %[1]s WHERE backend_id = ? AND backend_id <> '' UNION ALL %[2]s)`, t.name, nameClause), append([]any{id, id}, args...)
}

func ftsMatch(t table, text string) (index, match string) {
	text = foldName(text)
	if utf8.RuneCountInString(text) < 3 {
		return t.name + "_grams", gramWord(text)
	}
	return t.name + "_fts", `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
}

// isCommon reports whether the text is part of more than CountLimit names. On PostgreSQL
// it uses statistics, since the index would read all matches to count some.
func (s *Store) isCommon(ctx context.Context, t table, search string) (bool, error) {
	if isID(search) {
		return false, nil
	}
	if s.postgres {
		var plan string
		err := s.read(ctx).Raw("EXPLAIN (FORMAT JSON) SELECT 1 FROM "+t.name+" t WHERE name_grams(t.name) @> text_grams(?)", search).Scan(&plan).Error
		if err != nil {
			return false, err
		}
		var plans []struct {
			Plan struct {
				Rows float64 `json:"Plan Rows"`
			}
		}
		err = json.Unmarshal([]byte(plan), &plans)
		return err == nil && len(plans) == 1 && plans[0].Plan.Rows > models.CountLimit, err
	}
	index, match := ftsMatch(t, search)
	var matches int64
	err := s.read(ctx).Raw(fmt.Sprintf("SELECT count(*) FROM (SELECT rowid FROM %s WHERE %s MATCH ? LIMIT ?)", index, index),
		match, models.CountLimit+1).Scan(&matches).Error
	return matches > models.CountLimit, err
}

// searchable makes a text of a request acceptable to both databases. No id or name has
// what it replaces, so such a text still matches nothing.
func searchable(text string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "\ufffd"), "\ufffd")
}

// nameGrams returns every distinct letter and pair of letters of the folded name, each
// in hexadecimal, so that FTS5 sees plain words.
func nameGrams(name string) []string {
	letters := []rune(foldName(name))
	seen := map[string]bool{}
	var grams []string
	for i := range letters {
		for n := 1; n <= 2 && i+n <= len(letters); n++ {
			gram := gramWord(string(letters[i : i+n]))
			if !seen[gram] {
				seen[gram] = true
				grams = append(grams, gram)
			}
		}
	}
	return grams
}

func gramWord(letters string) string { return "g" + hex.EncodeToString([]byte(letters)) }

// foldName folds the case of a name for the search, letter by letter, so that a part of
// a name is a part of the folded name. fold_name in PostgreSQL does the same; the
// lower case of two letters differs there from Go's.
func foldName(name string) string {
	return foldExceptions.Replace(strings.ToLower(strings.ReplaceAll(name, "\u0130", "i\u0307")))
}

var foldExceptions = strings.NewReplacer("\u03c2", "\u03c3") // the final sigma
