-- ARGV: random, the restores that the host knows, the last entry that it has read, standings, then origins and their last batches
if revision() ~= ARGV[3] then return 'other' end
if not give_restores(ARGV[2]) then return 'epoch' end
-- A batch whose outcomes are in these standings must not count once more, if its host sends it again.
for i = 5, #ARGV, 2 do note_batch(ARGV[i], ARGV[i + 1]) end
append(ARGV[1], 'g', ARGV[4])
return 'ok'
