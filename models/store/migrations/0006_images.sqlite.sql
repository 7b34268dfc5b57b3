-- What an image is, and why no volume can be made of it: see models.Image.
ALTER TABLE images ADD COLUMN format TEXT NOT NULL DEFAULT ''
;;
ALTER TABLE images ADD COLUMN unusable TEXT NOT NULL DEFAULT ''
