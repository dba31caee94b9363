-- Cohort and features of the recipe `readmission`, over the tables that every model of records is brought to (data/views.py):
--   people      patient, born, sex, died
--   visits      patient, visit, class (inpatient, emergency, outpatient, other), began, ended, urgency, origin, destination
--   conditions  patient, visit, day, system (icd10, icd9, snomed), code, kind, place (1: the main diagnosis)
--   drugs       patient, visit, day, drug          procedures  patient, visit, day
--   labs        patient, visit, day, code (LOINC), value
-- PostgreSQL and DuckDB both understand every word of it. Days only; no line reads anything dated after the day of discharge
-- but `outcomes`, which reads nothing else.

-- One admission: inpatient visits of a patient that touch or overlap, since a transfer is not a discharge.
inpatient as (
    select patient, visit, began, ended, urgency, origin, destination,
        case when began <= max(ended) over (partition by patient order by began, ended, visit rows between unbounded preceding and 1 preceding)
            then 0 else 1 end as fresh
    from visits where class = 'inpatient' and began <= ended
),
numbered as (
    select patient, visit, began, ended, urgency, origin, destination,
        sum(fresh) over (partition by patient order by began, ended, visit rows between unbounded preceding and current row) as spell
    from inpatient
),
placed as (
    select patient, visit, began, ended, urgency, origin, destination, spell,
        row_number() over (partition by patient, spell order by began, ended, visit) as first_place,
        row_number() over (partition by patient, spell order by ended desc, began desc, visit desc) as last_place
    from numbered
),
admissions as (
    select patient, spell, min(began) as began, max(ended) as ended,
        max(case when first_place = 1 then urgency end) as urgency, max(case when first_place = 1 then origin end) as origin,
        max(case when last_place = 1 then destination end) as destination
    from placed group by patient, spell
),
-- An emergency visit on the day of admission, or the day before it, was the way in.
hurried as (
    select distinct a.patient, a.spell from admissions a
    join visits v on v.patient = a.patient and v.class = 'emergency' and v.began between a.began - 1 and a.began
),
urgent as (
    select a.patient, a.spell, a.began, a.ended, a.origin, a.destination, h.patient is not null as from_emergency,
        coalesce(a.urgency, case when h.patient is not null then 'emergency' end) as urgency
    from admissions a left join hurried h on h.patient = a.patient and h.spell = a.spell
),

-- Index admissions: adults who went home alive, not to hospice care, and whose thirty days lie within what is recorded.
recorded as (
    select least(max(ended), current_date) as last_day from visits
),
stays as (
    select u.patient, u.spell, u.began, u.ended, u.origin, u.destination, u.urgency, u.from_emergency, p.sex,
        cast(extract(year from u.began) - extract(year from p.born) - case
            when extract(month from u.began) * 100 + extract(day from u.began) < extract(month from p.born) * 100 + extract(day from p.born)
            then 1 else 0 end as integer) as age
    from urgent u join people p on p.patient = u.patient cross join recorded r
    where u.ended + 30 <= r.last_day and (p.died is null or p.died > u.ended)
        and coalesce(u.destination, '') not in ('died', 'hospice')
),

-- Within the stay: dated in it, or linked to one of its visits and dated no later than its end.
coded as (
    select s.patient, s.spell, c.day, c.code, c.place, c.kind,
        case when c.system = 'snomed' then '' else substr(replace(upper(c.code), '.', ''), 1, 3) end as chapter,
        replace(upper(c.code), '.', '') as bare, c.system
    from stays s join conditions c on c.patient = s.patient and c.day <= s.ended
    left join placed m on m.patient = c.patient and m.visit = c.visit
    where c.day >= s.began or m.spell = s.spell
),
grouped as (
    select patient, spell, day, code, place, case
        -- CMS heart failure measure: ICD-10-CM I09.81, I11.0, I13.0, I13.2, I50; ICD-9-CM 398.91, 402.x1, 404.x1, 404.x3, 428
        when system = 'icd10' and (chapter = 'I50' or bare in ('I0981', 'I110', 'I130', 'I132')) then 'heart failure'
        when system = 'icd9' and (chapter = '428' or bare in ('39891', '40201', '40211', '40291', '40401', '40403', '40411', '40413',
            '40491', '40493')) then 'heart failure'
        -- SNOMED CT: heart failure and its common kinds (left, right, congestive, systolic, diastolic; acute, chronic, acute on chronic)
        when system = 'snomed' and code in ('84114007', '42343007', '85232009', '367363000', '88805009', '10633002', '48447003',
            '56675007', '417996009', '418304008', '441481004', '441530006', '443254009', '443343001', '443253003', '443344007',
            '446221000', '703272007') then 'heart failure'
        when kind is not null then kind
        when system = 'icd10' and chapter between 'E08' and 'E14' then 'diabetes'
        when system = 'icd10' and (chapter between 'C00' and 'C99' or chapter between 'D00' and 'D49') then 'neoplasm'
        when system = 'icd10' and substr(chapter, 1, 1) = 'I' then 'other circulatory'
        when system = 'icd10' and substr(chapter, 1, 1) = 'J' then 'respiratory'
        when system = 'icd10' and substr(chapter, 1, 1) = 'K' then 'digestive'
        when system = 'icd10' and substr(chapter, 1, 1) = 'M' then 'musculoskeletal'
        when system = 'icd10' and substr(chapter, 1, 1) = 'N' then 'genitourinary'
        when system = 'icd10' and substr(chapter, 1, 1) in ('S', 'T') then 'injury'
        when system = 'icd9' and chapter = '250' then 'diabetes'
        when system = 'icd9' and chapter between '140' and '239' then 'neoplasm'
        when system = 'icd9' and (chapter between '390' and '459' or chapter = '785') then 'other circulatory'
        when system = 'icd9' and (chapter between '460' and '519' or chapter = '786') then 'respiratory'
        when system = 'icd9' and (chapter between '520' and '579' or chapter = '787') then 'digestive'
        when system = 'icd9' and (chapter between '580' and '629' or chapter = '788') then 'genitourinary'
        when system = 'icd9' and chapter between '710' and '739' then 'musculoskeletal'
        when system = 'icd9' and chapter between '800' and '999' then 'injury'
        when system = 'snomed' and code in ('44054006', '46635009', '73211009') then 'diabetes'
        else 'other' end as organ
    from coded
),
ordered as (
    select patient, spell, organ, row_number() over (partition by patient, spell order by place, day, code) as nth from grouped
),
diagnosed as (
    select patient, spell, max(case when nth = 1 then organ end) as main, max(case when organ = 'heart failure' then 1 else 0 end) as failing
    from ordered group by patient, spell
),
listed as (
    select patient, spell, count(distinct code) as codes from grouped group by patient, spell
),
given as (
    select s.patient, s.spell, count(distinct d.drug) as drugs from stays s
    join drugs d on d.patient = s.patient and d.day between s.began and s.ended group by s.patient, s.spell
),
operated as (
    select s.patient, s.spell, count(*) as times from stays s
    join procedures p on p.patient = s.patient and p.day between s.began and s.ended group by s.patient, s.spell
),
tested as (
    select s.patient, s.spell, count(*) as times from stays s
    join labs l on l.patient = s.patient and l.day between s.began and s.ended group by s.patient, s.spell
),
-- HbA1c in per cent; what stands in mmol/mol (above 20) by the IFCC-NGSP master equation. The last of the stay counts.
sugar as (
    select s.patient, s.spell, case when l.value > 20 then 0.09148 * l.value + 2.152 else l.value end as hba1c,
        row_number() over (partition by s.patient, s.spell order by l.day desc, l.value desc) as nth
    from stays s join labs l on l.patient = s.patient and l.day between s.began and s.ended
    where l.code in ('4548-4', '4549-2', '17856-6', '41995-2', '59261-8') and l.value is not null
),

-- Look back: the 365 days before the day of admission, which itself is not among them.
earlier as (
    select s.patient, s.spell, count(distinct a.spell) as times from stays s
    join admissions a on a.patient = s.patient and a.began >= s.began - 365 and a.began < s.began group by s.patient, s.spell
),
seen as (
    select s.patient, s.spell, cast(sum(case when v.class = 'emergency' then 1 else 0 end) as bigint) as emergencies,
        cast(sum(case when v.class = 'outpatient' then 1 else 0 end) as bigint) as outpatient
    from stays s join visits v on v.patient = s.patient and v.began >= s.began - 365 and v.began < s.began group by s.patient, s.spell
),

-- Look ahead: an admission that was not planned, from the day after discharge to the thirtieth.
outcomes as (
    select distinct s.patient, s.spell from stays s
    join urgent n on n.patient = s.patient and n.began > s.ended and n.began <= s.ended + 30
    where coalesce(n.urgency, '') <> 'elective'
),
readmission as (
    select s.patient as patient_id, s.age, s.sex, coalesce(s.urgency, 'other') as admission_type,
        case when s.from_emergency then 'emergency room' else coalesce(s.origin, 'other') end as admitted_from,
        coalesce(g.main, 'other') as primary_diagnosis, s.ended - s.began as length_of_stay, coalesce(o.times, 0) as procedures,
        coalesce(t.times, 0) as lab_tests, coalesce(d.drugs, 0) as medications, coalesce(c.codes, 0) as diagnoses,
        coalesce(e.times, 0) as admissions_last_year, coalesce(v.emergencies, 0) as emergencies_last_year,
        coalesce(v.outpatient, 0) as outpatient_last_year,
        case when h.hba1c is null then 'not measured' when h.hba1c < 7 then 'normal' when h.hba1c <= 8 then 'raised' else 'high' end as hba1c,
        coalesce(s.destination, 'other') as discharged_to, case when g.failing = 1 then 'yes' else 'no' end as heart_failure,
        case when r.patient is not null then 'yes' else 'no' end as readmitted
    from stays s
    left join diagnosed g on g.patient = s.patient and g.spell = s.spell
    left join listed c on c.patient = s.patient and c.spell = s.spell
    left join given d on d.patient = s.patient and d.spell = s.spell
    left join operated o on o.patient = s.patient and o.spell = s.spell
    left join tested t on t.patient = s.patient and t.spell = s.spell
    left join sugar h on h.patient = s.patient and h.spell = s.spell and h.nth = 1
    left join earlier e on e.patient = s.patient and e.spell = s.spell
    left join seen v on v.patient = s.patient and v.spell = s.spell
    left join outcomes r on r.patient = s.patient and r.spell = s.spell
    where s.age >= 18
),
-- The same for stays with heart failure among their diagnoses.
readmission_heart_failure as (
    select * from readmission where heart_failure = 'yes'
)
