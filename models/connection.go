package models

// Connection is a client that uses an attached volume at this moment, as the
// worker saw it last.
type Connection struct {
	ID           string `gorm:"primaryKey"`
	VolumeID     string
	ServerID     string
	Address      string // as host:port
	Identity     string // what it proved, such as the name in its certificate; may be empty
	Since        int64
	ActiveAt     int64
	BytesRead    int64
	BytesWritten int64

	BackendID string `gorm:"-"` // of the volume, where VolumeID is not known
}
