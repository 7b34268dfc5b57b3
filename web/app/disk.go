package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"blockconsole/models"
	"blockconsole/models/reserve"
	"blockconsole/web"
)

// openReserve takes the reserve of the data folder, before anything else there needs
// space. On a full disk it gives back what an earlier process held.
func (m *Main) openReserve(ctx context.Context) (err error) {
	m.reserve, err = reserve.Open(reserve.Options{Dir: m.Config.Data, Now: m.Now, Log: m.Log})
	if err != nil {
		return fmt.Errorf("cannot use the data folder: %w; check BLOCKCONSOLE_DATA", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.reserve.Run(ctx)
	}()
	m.onClose("reserve", func() error {
		cancel()
		<-ended
		return nil
	})
	web.ReserveMetrics(m.Registry, func() (freeBytes, freeInodes int64, short string, whole bool) {
		s := m.reserve.State()
		return s.Free, s.FreeInodes, string(s.Short), s.Whole
	})
	return nil
}

// databaseInDataFolder reports whether the database is a file on the reserve's disk.
func (m *Main) databaseInDataFolder() bool {
	dsn := m.Config.DSN()
	return !strings.Contains(dsn, "://") && m.reserve != nil && deviceOf(filepath.Dir(dsn)) == deviceOf(m.Config.Data)
}

// deviceOf is the file system of a folder; 0 where it cannot be read.
func deviceOf(folder string) uint64 {
	info, err := os.Stat(folder)
	if err != nil {
		return 0
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Dev)
	}
	return 0
}

// trouble is what every page says above it: that nothing can be saved, else that the data
// folder's disk is short of something.
func (m *Main) trouble() (text models.Text, writable bool) {
	if unsaved := m.Store.Unsaved(); unsaved != nil {
		return *unsaved, false
	}
	if m.reserve == nil {
		return models.Text{}, true
	}
	s := m.reserve.State()
	if s.Short == "" {
		return models.Text{}, true
	}
	free, total := s.Figures(s.Short)
	text = models.NewText("short."+string(s.Short), m.Config.Data, strconv.FormatInt(free, 10), strconv.FormatInt(total, 10))
	return text, s.Writable()
}

const writeTrialInterval = time.Second

// watchWrites finds out when the database takes writes again.
func (m *Main) watchWrites(ctx context.Context) {
	ticker := time.NewTicker(writeTrialInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_ = m.Store.TryWriting(ctx) // which has been logged, and is above every page
		}
	}
}
