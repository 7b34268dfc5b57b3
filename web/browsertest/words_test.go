package browsertest

// words are what the screen says, as the contract has it, word for word. They are
// not taken from the catalog: a test that follows the catalog would follow its
// mistakes.
type words struct {
	menu, volumes, snapshots                                                          string
	create, createSnapshot, edit, attach, detach, extend, remove, restore, repair     string
	cancel, pick                                                                      string
	newSnapshot, editSnapshot, deleteSnapshot, repairSnapshot                         string
	newVolume, editVolume, extendVolume, deleteVolume                                 string
	snapshotName, volumeName, size, server, description, search, source, reason       string
	caution, warning, tick, rule, errorDeleting, needOne                              string
	user, password, signIn, signOut, wrong, userMenu                                  string
	clean, live, found, next, previous, find, status, name, volumeField, chooseVolume string
	sizeSmall, sizeInvalid, reasonMissing, theirs, imageOption, tickMissing           string
	containerOption, container, raw                                                   string
	opened, done, activity, stepAttach, progress, noneFound, firstPage, lost          string
	cutOff, unread, signedOut, ago                                                    string
	nameTaken                                                                         string
}

var wordsOf = map[string]words{
	"ko": {
		menu: "주 메뉴", volumes: "Volume", snapshots: "Block Snapshot",
		create: "생성", createSnapshot: "스냅샷 생성", edit: "수정", attach: "연결", detach: "연결 해제", extend: "확장", remove: "삭제",
		restore: "Volume 생성", repair: "복구", cancel: "취소", pick: "NAME 선택",
		newSnapshot: "Block Snapshot 생성", editSnapshot: "Block Snapshot 수정", deleteSnapshot: "Block Snapshot 삭제", repairSnapshot: "Block Snapshot 복구",
		newVolume: "Volume 생성", editVolume: "Volume 수정", extendVolume: "Volume 확장", deleteVolume: "Volume 삭제",
		snapshotName: "Block Snapshot 이름", volumeName: "Volume 이름", size: "크기(GiB)", server: "서버", description: "설명", search: "검색",
		source: "원본", reason: "사유",
		caution: "주의", warning: "Volume이 서버에 연결된 상태에서 Block Snapshot을 생성하면 스냅샷의 데이터가 손상될 수 있습니다.",
		tick: "데이터 손상 가능성을 확인했습니다", rule: `이름은 영문과 숫자로 3Byte 이상 20Byte 이내로 작성해야 하며 특수문자는 "-"만 가능합니다.`,
		errorDeleting: "삭제할 수 없습니다. 관리자에게 문의하세요.", needOne: "목록에서 하나만 선택하세요.",
		user: "사용자 이름", password: "비밀번호", signIn: "로그인", signOut: "로그아웃", wrong: "사용자 이름 또는 비밀번호가 올바르지 않습니다.", userMenu: "사용자 메뉴: admin",
		clean: "정상", live: "충돌 일관성", found: "조건에 맞는 항목", next: "다음", previous: "이전", find: "찾기", status: "상태", name: "이름",
		volumeField: "Volume", chooseVolume: "스냅샷을 생성할 Volume을 선택하세요.",
		sizeSmall: "크기는 2 GiB 이상이어야 합니다.", sizeInvalid: "크기는 1 이상의 정수(GiB)로 입력하세요.", reasonMissing: "사유를 입력하세요.",
		theirs: "다른 사용자가 먼저 수정했습니다", imageOption: "이미지: hello", containerOption: "이미지: disk.img", container: "QCOW2 형식이라", raw: "그대로 원시 바이트로", tickMissing: "계속하려면 데이터 손상 가능성을 확인했다고 표시하세요.",
		opened: "전체 검색", done: "완료", activity: "작업", stepAttach: "서버에 연결", progress: "CREATING 진행률", noneFound: "조건에 맞는 항목이 없습니다",
		lost:   "서버에 연결할 수 없습니다.",
		cutOff: "연결 끊김 · 다시 연결하는 중", unread: "최신 상태가 아님 · 다시 읽는 중", signedOut: "로그인이 끝남 · 다시 로그인하세요", ago: "초 전",
		nameTaken: "같은 이름이 이미 있습니다. 그대로 사용할 수 있지만 구분하기 어려울 수 있습니다.",
		firstPage: "북마크한 위치를 더 이상 찾을 수 없어 첫 페이지를 표시합니다.",
	},
	"en": {
		menu: "Main menu", volumes: "Volumes", snapshots: "Block Snapshots",
		create: "Create", createSnapshot: "Create snapshot", edit: "Edit", attach: "Attach", detach: "Detach", extend: "Extend", remove: "Delete",
		restore: "Create volume", repair: "Repair", cancel: "Cancel", pick: "Select NAME",
		newSnapshot: "Create Block Snapshot", editSnapshot: "Edit Block Snapshot", deleteSnapshot: "Delete Block Snapshot", repairSnapshot: "Repair Block Snapshot",
		newVolume: "Create Volume", editVolume: "Edit Volume", extendVolume: "Extend Volume", deleteVolume: "Delete Volume",
		snapshotName: "Block Snapshot name", volumeName: "Volume name", size: "Size (GiB)", server: "Server", description: "Description", search: "Search",
		source: "Source", reason: "Reason",
		caution: "Caution", warning: "Creating a Block Snapshot while the volume is attached to a server may damage the data of the snapshot.",
		tick: "I understand that the data may be damaged", rule: `Names are 3 to 20 bytes of English letters and digits; the only special character allowed is "-".`,
		errorDeleting: "It cannot be deleted. Please ask the administrator.", needOne: "Select exactly one row.",
		user: "User name", password: "Password", signIn: "Sign in", signOut: "Sign out", wrong: "The user name or the password is wrong.", userMenu: "User menu: admin",
		clean: "Clean", live: "Crash-consistent", found: "matching", next: "Next", previous: "Previous", find: "Find", status: "Status", name: "Name",
		volumeField: "Volume", chooseVolume: "Choose the volume to take a snapshot of.",
		sizeSmall: "The size must be at least 2 GiB.", sizeInvalid: "The size must be a whole number of GiB, 1 or more.", reasonMissing: "Give a reason.",
		theirs: "Somebody else has changed this meanwhile", imageOption: "Image: hello", containerOption: "Image: disk.img", container: "this file is QCOW2", raw: "As raw bytes", tickMissing: "Tick that you understand the risk to go on.",
		opened: "Search everywhere", done: "done", activity: "Activity", stepAttach: "Attach to the server", progress: "CREATING progress", noneFound: "Nothing matches",
		lost:   "cannot be reached",
		cutOff: "Connection lost · reconnecting", unread: "Out of date · reading again", signedOut: "Signed out · please sign in again", ago: "seconds ago",
		nameTaken: "The name exists already. You may use it, but the two are hard to tell apart.",
		firstPage: "The bookmarked place is gone; this is the first page.",
	},
}
